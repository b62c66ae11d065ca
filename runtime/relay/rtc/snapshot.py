"""Snapshots for metrics and the room, read off the legs."""

from __future__ import annotations

from .interface import PlayerStats, StreamerStats, StreamStats
from .legs import PlayerLeg, StreamerLeg
from .source import Source


def stream(source: Source) -> StreamStats:
    reception = source.reception
    return StreamStats(
        kind=source.kind,
        codec=source.track.codec.name,
        layer=source.rid,
        packets=source.packets,
        octets=source.octets,
        bitrate_bps=source.bitrate_bps,
        packets_lost=max(0, reception.lost),
        fraction_lost=reception.fraction_lost,
        jitter_ms=reception.jitter_seconds * 1000,
        frames=source.frames if source.kind == "video" else 0,
        fps=source.fps if source.kind == "video" else 0.0,
        keyframes=source.keyframes.keyframes,
        nacks_sent=reception.nacks,
    )


def streamer(leg: StreamerLeg) -> StreamerStats:
    sources = leg.ingest.sources if leg.ingest is not None else []
    return StreamerStats(
        connected=leg.peer.connected,
        address=leg.peer.ice.address,
        streams=tuple(stream(source) for source in sources),
        keyframe_requests=sum(source.keyframes.requests for source in sources),
        target_bitrate_bps=leg.ingest.target_bps if leg.ingest is not None else 0,
        data_channel_open=leg.queue.is_open,
        data_dropped=leg.queue.dropped,
    )


def player(leg: PlayerLeg, now: float) -> PlayerStats:
    egress = leg.egress
    outputs = egress.outputs if egress is not None else []
    round_trip = egress.round_trip_seconds if egress is not None else None
    return PlayerStats(
        player_id=leg.player_id,
        connected=leg.peer.connected,
        address=leg.peer.ice.address,
        data_channel_open=leg.queue.is_open,
        packets=sum(output.packets for output in outputs),
        octets=sum(output.octets for output in outputs),
        bitrate_bps=egress.bitrate_bps if egress is not None else 0,
        fps=egress.fps if egress is not None else 0.0,
        packets_lost=egress.packets_lost if egress is not None else 0,
        fraction_lost=egress.fraction_lost if egress is not None else 0.0,
        jitter_ms=egress.jitter_seconds * 1000 if egress is not None else 0.0,
        rtt_ms=round_trip * 1000 if round_trip is not None else None,
        estimate_bps=egress.link.usable_bps(now) if egress is not None else None,
        nacks=sum(output.nacked for output in outputs),
        resent=sum(output.resent for output in outputs),
        keyframe_requests=egress.keyframe_requests if egress is not None else 0,
        sends_dropped=sum(output.sends_dropped for output in outputs),
        data_dropped=leg.queue.dropped,
        data_queued_bytes=leg.queue.queued_bytes,
    )
