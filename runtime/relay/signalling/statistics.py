"""The media plane's figures for pages, for administrators and for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime.protocol.control import PlayerStatistics, SessionStatistics, StreamStatistics
from runtime.protocol.room import Stats
from runtime.relay.rtc.interface import MediaStats, PlayerStats, StreamerStats

_PLAYER_GAUGES = {
    "bitrate_bps": "bits per second sent to a player",
    "fps": "pictures per second sent to a player",
    "fraction_lost": "share of packets a player reported lost, 0..1",
    "jitter_ms": "jitter a player reported, milliseconds",
    "rtt_ms": "round trip to a player, milliseconds",
    "estimate_bps": "bandwidth a player estimates, bits per second",
    "data_queued_bytes": "data-channel bytes waiting for a player",
}
_PLAYER_COUNTERS = {
    "packets": "packets sent to a player",
    "octets": "RTP bytes sent to a player",
    "packets_lost": "packets a player reported lost",
    "nacks": "packets a player asked for again",
    "resent": "packets sent again to a player",
    "keyframe_requests": "keyframes a player asked for",
    "sends_dropped": "packets the kernel would not take for a player",
    "data_dropped": "data-channel messages dropped for a player that reads too slowly",
}
_STREAM_GAUGES = {
    "bitrate_bps": "bits per second received from the streamer",
    "fps": "pictures per second received from the streamer",
    "fraction_lost": "share of packets lost on the way from the streamer, 0..1",
    "jitter_ms": "jitter from the streamer, milliseconds",
}
_STREAM_COUNTERS = {
    "packets": "packets received from the streamer",
    "octets": "RTP bytes received from the streamer",
    "packets_lost": "packets lost on the way from the streamer",
    "frames": "pictures received from the streamer",
    "keyframes": "keyframes received from the streamer",
    "nacks_sent": "packets asked of the streamer again",
}


def session_statistics(
    stats: MediaStats, owner_of: Mapping[str, str], name_of: Callable[[str], str]
) -> SessionStatistics:
    """The streamer, and every player with the participant it belongs to."""
    return SessionStatistics(
        stream=None if stats.streamer is None else _stream(stats.streamer),
        players=tuple(
            _player(player, owner_of[player.player_id], name_of(owner_of[player.player_id]))
            for player in stats.players
            if player.player_id in owner_of
        ),
    )


def room_stats(stats: MediaStats, owner_of: Mapping[str, str]) -> tuple[Stats, dict[str, Stats]]:
    """What pages are told: the owner's, the streamer and all players; others', by participant, it and their own."""
    everything = session_statistics(stats, owner_of, lambda _: "")
    streamer = None if everything.stream is None else asdict(everything.stream)
    by_participant: dict[str, list[dict[str, Any]]] = {participant: [] for participant in owner_of.values()}
    players = []
    for player in everything.players:
        # Names are the room's own matter; pages know them by participant.
        told = {key: value for key, value in asdict(player).items() if key != "name"}
        players.append(told)
        by_participant[player.participant].append(told)
    own = {who: Stats(streamer=streamer, players=tuple(theirs)) for who, theirs in by_participant.items()}
    return Stats(streamer=streamer, players=tuple(players)), own


def _stream(streamer: StreamerStats) -> StreamStatistics:
    # Of several simulcast layers the best one.
    videos = [stream for stream in streamer.streams if stream.kind == "video"]
    video = max(videos, key=lambda stream: stream.bitrate_bps, default=None)
    if video is None:
        return StreamStatistics(target_bitrate_bps=streamer.target_bitrate_bps)
    return StreamStatistics(
        codec=video.codec,
        bitrate_bps=video.bitrate_bps,
        fps=round(video.fps, 1),
        fraction_lost=round(video.fraction_lost, 4),
        target_bitrate_bps=streamer.target_bitrate_bps,
    )


def _player(player: PlayerStats, participant_id: str, name: str) -> PlayerStatistics:
    return PlayerStatistics(
        id=player.player_id,
        participant=participant_id,
        name=name,
        connected=player.connected,
        bitrate_bps=player.bitrate_bps,
        fps=round(player.fps, 1),
        fraction_lost=round(player.fraction_lost, 4),
        jitter_ms=round(player.jitter_ms, 1),
        rtt_ms=round(player.rtt_ms, 1) if player.rtt_ms is not None else None,
        estimate_bps=player.estimate_bps,
    )


class Figures(Protocol):
    """What the collector reads, at each scrape."""

    def media_stats(self) -> MediaStats: ...

    def player_owners(self) -> Mapping[str, str]: ...

    def counts(self) -> Mapping[str, float]:
        """Gauges of the session: participants, players, live (0 or 1)."""
        ...

    def data_counters(self) -> Mapping[str, int]: ...

    def socket_counters(self) -> Mapping[str, int]: ...


class SessionCollector(Collector):
    """Prometheus metrics of one session. Labels of players vanish with the player."""

    def __init__(self, figures: Figures, session_id: str) -> None:
        self._figures = figures
        self._session_id = session_id

    def collect(self) -> Iterable[Metric]:
        stats = self._figures.media_stats()
        yield from self._session()
        yield from self._streams(stats)
        yield from self._players(stats)

    def _session(self) -> Iterable[Metric]:
        for name, value in self._figures.counts().items():
            gauge = GaugeMetricFamily(f"pixelstream_relay_{name}", f"{name} of the session", labels=["session"])
            gauge.add_metric([self._session_id], value)
            yield gauge
        data = CounterMetricFamily(
            "pixelstream_relay_data_messages", "data-channel messages not passed on, by cause", labels=["cause"]
        )
        for cause, count in sorted(self._figures.data_counters().items()):
            data.add_metric([cause], count)
        yield data
        sockets = CounterMetricFamily(
            "pixelstream_relay_socket_messages", "WebSocket messages that were not obeyed, by cause", labels=["cause"]
        )
        for cause, count in sorted(self._figures.socket_counters().items()):
            sockets.add_metric([cause], count)
        yield sockets

    def _streams(self, stats: MediaStats) -> Iterable[Metric]:
        events = CounterMetricFamily("pixelstream_relay_media_events", "media plane events, by cause", labels=["cause"])
        for cause, count in sorted(stats.counters.items()):
            events.add_metric([cause], count)
        yield events
        if stats.streamer is None:
            return
        target = GaugeMetricFamily("pixelstream_relay_target_bitrate_bps", "bitrate asked of the streamer's encoder")
        target.add_metric([], stats.streamer.target_bitrate_bps)
        yield target
        asked = CounterMetricFamily("pixelstream_relay_keyframe_requests", "keyframes asked of the streamer")
        asked.add_metric([], stats.streamer.keyframe_requests)
        yield asked
        rows = [([s.kind, s.codec, s.layer], s) for s in stats.streamer.streams]
        yield from _families("stream", ["kind", "codec", "layer"], rows, _STREAM_GAUGES, _STREAM_COUNTERS)

    def _players(self, stats: MediaStats) -> Iterable[Metric]:
        owners = self._figures.player_owners()
        rows = [([p.player_id, owners.get(p.player_id, "")], p) for p in stats.players]
        yield from _families("player", ["player", "participant"], rows, _PLAYER_GAUGES, _PLAYER_COUNTERS)


def _families(
    what: str,
    labels: list[str],
    rows: list[tuple[list[str], Any]],
    gauges: Mapping[str, str],
    counters: Mapping[str, str],
) -> Iterable[Metric]:
    for kind, fields in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for name, text in fields.items():
            family = kind(f"pixelstream_relay_{what}_{name}", text, labels=labels)
            for values, row in rows:
                if (value := getattr(row, name)) is not None:
                    family.add_metric(values, value)
            yield family
