"""What a relay answers and offers: one codec per kind, no transcoding, everything on one bundled ICE-lite transport."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .bandwidth import BandwidthLimits
from .rtp import ABS_SEND_TIME, FORWARDED_EXTENSIONS, RTP_STREAM_ID, TRANSPORT_CC
from .sdp import Codec, Description, SdpError, Section, same_parameters

SCTP_PORT = 5000
MAX_MESSAGE_BYTES = 262_144
VIDEO_NAMES = ("H264", "VP8", "VP9", "AV1", "H265")
AUDIO_NAMES = ("OPUS",)
_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir", "goog-remb")
_RTP_PROTOCOL = "UDP/TLS/RTP/SAVPF"
TWCC = "transport-cc"


@dataclass(frozen=True)
class Local:
    """This side of the transport, as it goes into every bundled section."""

    ufrag: str
    pwd: str
    fingerprint: str  # sha-256
    setup: str
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Track:
    """One kind of media taken from the streamer: how its packets look when they arrive."""

    kind: str
    mid: str
    codec: Codec
    extensions: Mapping[str, int]
    ssrcs: tuple[int, ...]  # announced ones; empty if the streamer announced none
    rids: tuple[str, ...] = ()  # simulcast layers, in the order of the offer
    numbers: frozenset[int] = frozenset()  # of all header extensions it may use, ours or not

    @property
    def format(self) -> tuple[str, ...]:
        """What a receiver must be able to decode; two tracks with the same format can replace each other in one
        stream."""
        keys = ("profile-level-id", "packetization-mode", "profile-id", "profile", "level-id", "tier-flag", "stereo")
        parameters = self.codec.parameters
        values = tuple(f"{key}={parameters[key].lower()}" for key in keys if key in parameters)
        return (self.kind, self.codec.upper_name, str(self.codec.clock_rate), *values)

    @property
    def feedback(self) -> frozenset[str]:
        return frozenset(self.codec.feedback)


@dataclass(frozen=True)
class Outgoing:
    """One stream as it is described to a player."""

    kind: str
    mid: str
    codec: Codec
    extensions: Mapping[str, int]
    ssrc: int
    rtx_pt: int | None = None
    rtx_ssrc: int | None = None
    receive: bool = False  # the player may send back (microphone)
    reserved: frozenset[int] = frozenset()  # header extension numbers it agreed to and does not get


def choose_tracks(offer: Description, preference: Sequence[str] = ()) -> list[Track]:
    """The first usable video and audio of an offer. ``preference`` orders video codecs; without it the offerer's
    order counts.

    Raises :class:`SdpError` when the offer sends no video that can be forwarded.
    """
    tracks = []
    for kind in ("video", "audio"):
        section = offer.first_sending(kind)
        codec = _choose(section, preference if kind == "video" else ()) if section is not None else None
        if section is not None and codec is not None:
            tracks.append(_track(section, codec))
    if not any(track.kind == "video" for track in tracks):
        raise SdpError("the offer sends no video in a codec that can be forwarded")
    return tracks


def _choose(section: Section, preference: Sequence[str]) -> Codec | None:
    names = VIDEO_NAMES if section.kind == "video" else AUDIO_NAMES
    offered = [codec for codec in section.ordered_codecs() if codec.upper_name in names]
    rank = {name.upper(): i for i, name in enumerate(preference)}

    def order(codec: Codec) -> tuple[int, bool]:
        # Encoders that offer both H.264 packetization modes fill packets badly in mode 0.
        mode_0 = codec.upper_name == "H264" and codec.parameters.get("packetization-mode", "0") == "0"
        return rank.get(codec.upper_name, len(rank)), mode_0

    if preference:
        return min(offered, key=order, default=None)
    first = offered[0].upper_name if offered else ""
    return min((c for c in offered if c.upper_name == first), key=order, default=None)


def _track(section: Section, codec: Codec) -> Track:
    feedback = [f for f in codec.feedback if f in _VIDEO_FEEDBACK]
    extensions = {uri: number for uri, number in section.extensions.items() if uri in FORWARDED_EXTENSIONS}
    # Both congestion feedbacks where they are offered: REMB says what the policy decided, and caps what the streamer
    # finds out by itself. libwebrtc without transport-wide feedback takes its absence for a dead path and lowers the
    # bitrate.
    if TWCC in codec.feedback and TRANSPORT_CC in section.extensions:
        feedback.append(TWCC)
        extensions[TRANSPORT_CC] = section.extensions[TRANSPORT_CC]
    rids = section.simulcast_send if RTP_STREAM_ID in section.extensions else ()
    if len(rids) > 1:
        extensions[RTP_STREAM_ID] = section.extensions[RTP_STREAM_ID]
    grouped = {ssrc for name, group in section.ssrc_groups if name == "FID" for ssrc in group[1:]}
    ssrcs = tuple(ssrc for ssrc in section.ssrcs if ssrc not in grouped)
    return Track(
        section.kind,
        section.mid,
        replace(codec, feedback=tuple(feedback)),
        extensions,
        ssrcs,
        rids if len(rids) > 1 else (),
        frozenset(section.extensions.values()),
    )


def matching_codec(section: Section, wanted: Codec) -> Codec | None:
    """The payload type under which a player takes the streamer's format, the closest profile first."""
    same = [
        codec
        for codec in section.ordered_codecs()
        if codec.upper_name == wanted.upper_name and codec.clock_rate == wanted.clock_rate
    ]
    mine = wanted.parameters
    if wanted.upper_name == "H264":
        same = [c for c in same if same_parameters(c.parameters, mine, {"packetization-mode": "0"})]

        def distance(codec: Codec) -> int:
            theirs = codec.parameters.get("profile-level-id", "42001f").lower()
            ours = mine.get("profile-level-id", "42001f").lower()
            return 0 if theirs[:4] == ours[:4] else 1 if theirs[:2] == ours[:2] else 2

        return min(same, key=distance, default=None)
    return next((c for c in same if same_parameters(c.parameters, mine, {"profile-id": "0", "profile": "0"})), None)


def free_extension_number(taken: Iterable[int]) -> int | None:
    """A header extension number that fits the one-byte form and means nothing yet."""
    used = set(taken)
    return next((number for number in range(14, 0, -1) if number not in used), None)


def wants_transport_cc(section: Section, codec: Codec) -> bool:
    """True for a receiver that tells arrival times and gives no estimate of its own (REMB), which would be better: it
    is made from every packet, and costs nothing here."""
    feedback = next((c.feedback for c in section.codecs.values() if c.pt == codec.pt), ())
    return TWCC in feedback and "goog-remb" not in feedback and TRANSPORT_CC in section.extensions


def free_payload_type(taken: Iterable[int]) -> int:
    """A dynamic payload type that no section of the bundle uses."""
    dynamic: tuple[int, ...] = (*range(127, 95, -1), *range(35, 64))
    used = set(taken)
    return next(pt for pt in dynamic if pt not in used)


def answer_streamer(
    offer: Description,
    tracks: Sequence[Track],
    local: Local,
    limits: BandwidthLimits,
    microphone_ssrc: int | None = None,
) -> str:
    """Answer the streamer's offer: ``tracks`` and its data section, everything else rejected."""
    by_mid = {track.mid: track for track in tracks}
    accepted = [s.mid for s in offer.sections if s.mid in by_mid or _is_data(s)]
    lines = _session_lines(accepted)
    for section in offer.sections:
        track = by_mid.get(section.mid)
        if _is_data(section):
            lines += _data_lines(section.mid, local, section)
        elif track is None:
            lines += _rejected_lines(section)
        else:
            codec = _with_bitrate(track.codec, limits) if track.kind == "video" else track.codec
            speaks = track.kind == "audio" and microphone_ssrc is not None and section.receives
            direction = "sendrecv" if speaks else "recvonly"
            lines += _rtp_lines(section.kind, section.mid, direction, codec, track.extensions, local)
            if track.rids:
                lines += [f"a=rid:{rid} recv" for rid in track.rids]
                lines.append(f"a=simulcast:recv {';'.join(track.rids)}")
            if speaks and microphone_ssrc is not None:
                lines += _source_lines(section.kind, (microphone_ssrc,), "relay")
    return _text(lines)


def offer_streamer(local: Local, limits: BandwidthLimits, preference: Sequence[str] = ()) -> str:
    """Offer to receive, for a streamer that waits to be offered to (Unreal 4.27)."""
    names = [*preference, *(n for n in VIDEO_NAMES if n not in preference)]
    extensions = {ABS_SEND_TIME: 2}
    fmtp = {"H264": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", "VP9": "profile-id=0"}
    video = [
        _with_bitrate(Codec(98 + 2 * i, name, 90_000, fmtp=fmtp.get(name, ""), feedback=_VIDEO_FEEDBACK), limits)
        for i, name in enumerate(names)
    ]
    audio = Codec(111, "opus", 48_000, 2, "minptime=10;stereo=1;useinbandfec=1")
    lines = _session_lines(("video", "audio", "data"))
    first, *others = video
    lines += _rtp_lines("video", "video", "recvonly", first, extensions, local, others=others)
    lines += _rtp_lines("audio", "audio", "recvonly", audio, {}, local)
    return _text(lines + _data_lines("data", local))


def offer_player(streams: Sequence[Outgoing], local: Local, *, version: int = 1) -> str:
    """Offer exactly one codec (and its RTX) per stream. Audio and video share one msid stream: Epic's player needs
    that."""
    lines = _session_lines([*(stream.mid for stream in streams), "data"], version)
    for stream in streams:
        lines += _stream_lines(stream, local)
    return _text(lines + _data_lines("data", local))


def answer_player(offer: Description, streams: Mapping[str, Outgoing], local: Local) -> str:
    """Answer a player that offers. ``streams`` is keyed by the offer's mid."""
    lines = _session_lines([s.mid for s in offer.sections if s.mid in streams or _is_data(s)])
    for section in offer.sections:
        if _is_data(section):
            lines += _data_lines(section.mid, local, section)
        elif section.mid in streams:
            lines += _stream_lines(streams[section.mid], local)
        else:
            lines += _rejected_lines(section)
    return _text(lines)


def offer_voice(slots: Sequence[Outgoing], codec: Codec, extensions: Mapping[str, int], local: Local) -> str:
    """Offer a voice call: one section for the page's microphone, and one for each stream it may hear. Each has an msid
    of its own, because a page plays streams, not tracks."""
    lines = _session_lines(["mic", *(slot.mid for slot in slots)])
    lines += _rtp_lines("audio", "mic", "recvonly", codec, extensions, local)
    for slot in slots:
        lines += _rtp_lines("audio", slot.mid, "sendonly", slot.codec, slot.extensions, local)
        lines += _source_lines("audio", (slot.ssrc,), slot.mid)
    return _text(lines)


def _is_data(section: Section) -> bool:
    return section.kind == "application" and section.active and section.protocol.endswith("DTLS/SCTP")


def _with_bitrate(codec: Codec, limits: BandwidthLimits) -> Codec:
    """Limits as libwebrtc reads them, in kbit/s, from the remote description. Without a start it begins near 300."""
    start, maximum = max(1, limits.start_bps // 1000), max(1, limits.maximum_bps // 1000)
    limit = f"x-google-start-bitrate={min(start, maximum)};x-google-max-bitrate={maximum}"
    return replace(codec, fmtp=f"{codec.fmtp};{limit}" if codec.fmtp else limit)


def _session_lines(mids: Sequence[str], version: int = 1) -> list[str]:
    return [
        "v=0",
        f"o=- 1 {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
        f"a=group:BUNDLE {' '.join(mids)}",
        "a=msid-semantic: WMS *",
    ]


def _transport_lines(mid: str, local: Local) -> list[str]:
    return [
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        f"a=setup:{local.setup}",
        *(f"a={candidate}" for candidate in local.candidates),
        "a=end-of-candidates",
    ]


def _rejected_lines(section: Section) -> list[str]:
    return [
        f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        "a=inactive",
    ]


def _rtp_lines(
    kind: str,
    mid: str,
    direction: str,
    codec: Codec,
    extensions: Mapping[str, int],
    local: Local,
    rtx_pt: int | None = None,
    others: Sequence[Codec] = (),
) -> list[str]:
    formats = [str(codec.pt), *([str(rtx_pt)] if rtx_pt is not None else []), *(str(other.pt) for other in others)]
    lines = [f"m={kind} 9 {_RTP_PROTOCOL} {' '.join(formats)}", *_transport_lines(mid, local)]
    lines += [f"a={direction}", "a=rtcp-mux", "a=rtcp-rsize"]
    for each in (codec, *others):
        lines.append(f"a=rtpmap:{each.pt} {each.rtpmap}")
        lines += [f"a=fmtp:{each.pt} {each.fmtp}"] if each.fmtp else []
        lines += [f"a=rtcp-fb:{each.pt} {feedback}" for feedback in each.feedback]
    if rtx_pt is not None:
        lines += [f"a=rtpmap:{rtx_pt} rtx/{codec.clock_rate}", f"a=fmtp:{rtx_pt} apt={codec.pt}"]
    return lines + [f"a=extmap:{number} {uri}" for uri, number in extensions.items()]


def _stream_lines(stream: Outgoing, local: Local) -> list[str]:
    direction = "sendrecv" if stream.receive else "sendonly"
    feedback: tuple[str, ...] = _VIDEO_FEEDBACK if stream.kind == "video" else ()
    if TRANSPORT_CC in stream.extensions:
        feedback = (*feedback, TWCC)
    codec = replace(stream.codec, feedback=feedback)
    lines = _rtp_lines(stream.kind, stream.mid, direction, codec, stream.extensions, local, stream.rtx_pt)
    ssrcs = (stream.ssrc,) if stream.rtx_ssrc is None else (stream.ssrc, stream.rtx_ssrc)
    if len(ssrcs) == 2:
        lines.append(f"a=ssrc-group:FID {ssrcs[0]} {ssrcs[1]}")
    return lines + _source_lines(stream.kind, ssrcs, "relay")


def _source_lines(kind: str, ssrcs: Sequence[int], stream_id: str) -> list[str]:
    lines = [f"a=msid:{stream_id} {kind}"]
    for ssrc in ssrcs:
        lines += [f"a=ssrc:{ssrc} cname:{stream_id}", f"a=ssrc:{ssrc} msid:{stream_id} {kind}"]
    return lines


def _data_lines(mid: str, local: Local, offered: Section | None = None) -> list[str]:
    if offered is not None and not offered.protocol.startswith("UDP/"):  # the form before RFC 8841
        head = [f"m=application 9 {offered.protocol} {SCTP_PORT}"]
        tail = [f"a=sctpmap:{SCTP_PORT} webrtc-datachannel 1024"]
    else:
        head = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel"]
        tail = [f"a=sctp-port:{SCTP_PORT}"]
    return [*head, *_transport_lines(mid, local), *tail, f"a=max-message-size:{MAX_MESSAGE_BYTES}"]


def _text(lines: Iterable[str]) -> str:
    return "\r\n".join(lines) + "\r\n"
