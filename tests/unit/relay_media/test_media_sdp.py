"""What peers write is understood, what we write is what they need, and no peer can write into another's description."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core import negotiation, sdp
from runtime.relay.core.bandwidth import BandwidthLimits
from runtime.relay.core.rtp import ABS_SEND_TIME, TRANSPORT_CC

DATA = Path(__file__).parent / "data"
CHROMIUM_OFFER = (DATA / "chromium_offer.sdp").read_bytes().decode("ascii")
LOCAL = negotiation.Local("uuuu", "p" * 24, "AB:CD", "passive", ("candidate:1 1 udp 1 127.0.0.1 9 typ host",))
LIMITS = BandwidthLimits(1_000_000, 6_000_000, 20_000_000)
MINIMAL = (
    "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA\r\na=setup:actpass\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\n"
)


def section_of(text: str, kind: str) -> sdp.Section:
    return next(s for s in sdp.parse(text).sections if s.kind == kind)


def test_a_browsers_offer_is_read_whole() -> None:
    offer = sdp.parse(CHROMIUM_OFFER)
    assert [s.kind for s in offer.sections] == ["audio", "video", "application"]
    video = offer.sections[1]
    assert {"VP8", "H264", "VP9", "AV1"} <= {c.name for c in video.codecs.values()}
    first = video.ordered_codecs()[0]
    assert (first.name, first.pt) == ("VP8", 96)
    assert "nack pli" in first.feedback
    rtx = video.rtx_for(96)
    assert rtx is not None
    assert rtx.parameters["apt"] == "96"
    assert video.extensions[TRANSPORT_CC]
    assert offer.setup == "actpass"
    assert offer.sctp_port == 5000
    assert offer.max_message_bytes == 262_144
    assert offer.fingerprints[0][0] == "sha-256"
    assert video.direction == "sendonly"
    assert len(video.ssrcs) == 2
    assert video.ssrc_groups[0][0] == "FID"


def test_the_streamers_own_order_decides_unless_a_preference_is_set() -> None:
    offer = sdp.parse(CHROMIUM_OFFER)
    assert negotiation.choose_tracks(offer)[0].codec.name == "VP8"
    chosen = negotiation.choose_tracks(offer, ("AV1", "H264"))[0].codec
    assert chosen.name == "AV1"
    h264 = negotiation.choose_tracks(offer, ("H264",))[0].codec
    assert h264.parameters["packetization-mode"] == "1"


def test_our_answer_takes_one_codec_and_rejects_the_rest() -> None:
    offer = sdp.parse(CHROMIUM_OFFER)
    tracks = negotiation.choose_tracks(offer, ("H264",))
    text = negotiation.answer_streamer(offer, tracks, LOCAL, LIMITS)
    answer = sdp.parse(text)
    assert [s.mid for s in answer.sections] == [s.mid for s in offer.sections]
    video = section_of(text, "video")
    assert [c.name for c in video.ordered_codecs()] == ["H264"]
    assert video.direction == "recvonly"
    assert set(video.codecs[tracks[0].codec.pt].feedback) == {
        "nack", "nack pli", "ccm fir", "goog-remb", "transport-cc",
    }  # fmt: skip
    assert "x-google-start-bitrate=6000;x-google-max-bitrate=20000" in text
    assert "a=ice-lite" in text
    assert "mid" not in " ".join(video.extensions)
    SessionDescription.parse(text)


def test_our_offer_is_what_epics_player_needs() -> None:
    offer = sdp.parse(CHROMIUM_OFFER)
    tracks = negotiation.choose_tracks(offer)
    streams = [
        negotiation.Outgoing(t.kind, t.kind, t.codec, {}, 10 + i, 127 if t.kind == "video" else None, 20)
        for i, t in enumerate(tracks)
    ]
    text = negotiation.offer_player(streams, LOCAL)
    theirs = SessionDescription.parse(text)
    assert [m.kind for m in theirs.media] == ["video", "audio", "application"]
    assert len({re.findall(r"a=msid:(\S+) ", text)[0] for _ in (0, 1)}) == 1
    assert set(re.findall(r"a=msid:(\S+) ", text)) == {"relay"}
    bundle = re.search(r"a=group:BUNDLE (.*)", text)
    assert bundle is not None
    assert bundle[1].split() == ["video", "audio", "data"]
    video = section_of(text, "video")
    assert [c.name for c in video.ordered_codecs()] == ["VP8", "rtx"]
    assert "transport-cc" not in text
    assert "a=sendonly" in text


def test_bundle_only_sections_are_not_rejected_ones() -> None:
    text = MINIMAL.replace("m=video 9", "m=video 0") + "a=bundle-only\r\n"
    assert negotiation.choose_tracks(sdp.parse(text))
    with pytest.raises(sdp.SdpError):
        negotiation.choose_tracks(sdp.parse(text.replace("a=bundle-only\r\n", "")))


def test_the_old_data_section_is_answered_in_kind() -> None:
    text = MINIMAL + "m=application 9 DTLS/SCTP 5000\r\na=mid:1\r\na=sctpmap:5000 webrtc-datachannel 1024\r\n"
    offer = sdp.parse(text)
    assert offer.sctp_port == 5000
    answer = negotiation.answer_streamer(offer, negotiation.choose_tracks(offer), LOCAL, LIMITS)
    assert "m=application 9 DTLS/SCTP 5000" in answer
    assert "a=sctpmap:5000 webrtc-datachannel 1024" in answer


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("42e01f", ["42001f", "42e01f", "640c1f"], "42e01f"),
        ("640032", ["42e01f", "64001f"], "64001f"),
        ("4d0032", ["42e01f", "64001f"], "42e01f"),
    ],
)
def test_the_closest_h264_profile_is_chosen(wanted: str, offered: list[str], chosen: str) -> None:
    section = sdp.Section("video", "UDP/TLS/RTP/SAVPF", 9, tuple(str(100 + i) for i in range(len(offered))))
    for i, profile in enumerate(offered):
        section.codecs[100 + i] = sdp.Codec(
            100 + i, "H264", 90_000, fmtp=f"packetization-mode=1;profile-level-id={profile}"
        )
    codec = sdp.Codec(96, "H264", 90_000, fmtp=f"packetization-mode=1;profile-level-id={wanted}")
    found = negotiation.matching_codec(section, codec)
    assert found is not None
    assert found.parameters["profile-level-id"] == chosen
    mode_0 = sdp.Codec(96, "H264", 90_000, fmtp=f"profile-level-id={wanted}")
    assert negotiation.matching_codec(section, mode_0) is None


def test_profiles_of_vp9_and_av1_must_be_the_same() -> None:
    section = section_of(CHROMIUM_OFFER, "video")
    assert negotiation.matching_codec(section, sdp.Codec(1, "VP9", 90_000, fmtp="profile-id=3")) is None
    found = negotiation.matching_codec(section, sdp.Codec(1, "VP9", 90_000, fmtp="profile-id=0"))
    assert found is not None
    assert found.parameters.get("profile-id", "0") == "0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0",
        MINIMAL.replace("a=ice-ufrag:u\r\n", ""),
        MINIMAL.replace("a=fingerprint:sha-256 AA\r\n", ""),
        MINIMAL.replace("m=video 9", "m=video x"),
        MINIMAL.replace("m=video 9", "m=video 99999"),
        MINIMAL + MINIMAL[MINIMAL.index("m=") :],
        MINIMAL * 40,
        "x" * (sdp.MAX_TEXT + 1),
    ],
)
def test_unusable_descriptions_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(sdp.SdpError, match=r".+"):
        sdp.parse(text)


def test_audio_alone_is_not_enough() -> None:
    text = MINIMAL.replace("m=video", "m=audio").replace("VP8/90000", "opus/48000/2")
    with pytest.raises(sdp.SdpError, match="no video"):
        negotiation.choose_tracks(sdp.parse(text))


@pytest.mark.parametrize("evil", ["\ra=ice-pwd:stolen", "\x0ba=x", "\u2028a=x", "é", "\x00"])
def test_no_peer_writes_lines_into_anothers_description(evil: str) -> None:
    text = MINIMAL + f"a=fmtp:96 x=1{evil}\r\na=extmap:1 {ABS_SEND_TIME}{evil}\r\n"
    offer = sdp.parse(text)
    tracks = negotiation.choose_tracks(offer)
    answer = negotiation.answer_streamer(offer, tracks, LOCAL, LIMITS)
    assert "stolen" not in answer
    assert all(0x20 <= ord(c) < 0x7F for c in answer.replace("\r\n", ""))


@given(st.text(max_size=400))
def test_random_text_raises_only_sdp_errors(text: str) -> None:
    try:
        sdp.parse(text)
    except sdp.SdpError:
        return


LINES = CHROMIUM_OFFER.split("\r\n")


@given(st.data())
def test_mangled_offers_raise_only_sdp_errors(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 8))):
        index = data.draw(st.integers(0, len(lines) - 1))
        action = data.draw(st.sampled_from(("drop", "cut", "repeat", "junk", "number")))
        if action == "drop":
            del lines[index]
        elif action == "cut":
            lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index])))]
        elif action == "repeat":
            lines.insert(index, lines[index])
        elif action == "junk":
            position = data.draw(st.integers(0, len(lines[index])))
            lines[index] = lines[index][:position] + data.draw(st.text(max_size=6)) + lines[index][position:]
        else:
            lines[index] = re.sub(r"\d+", str(data.draw(st.integers(-5, 10**12))), lines[index])
    try:
        offer = sdp.parse("\r\n".join(lines))
        tracks = negotiation.choose_tracks(offer)
    except sdp.SdpError:
        return
    answer = negotiation.answer_streamer(offer, tracks, LOCAL, LIMITS)
    assert len(sdp.parse(answer).sections) == len(offer.sections)


def test_feedback_of_all_payload_types_holds_for_later_lines_too() -> None:
    """RFC 4585 section 4.2."""
    text = MINIMAL.replace("a=rtpmap", "a=rtcp-fb:* nack pli\r\na=rtpmap") + "a=rtcp-fb:96 nack\r\n"
    assert set(section_of(text, "video").codecs[96].feedback) == {"nack", "nack pli"}


def test_thousands_of_lines_about_all_payload_types_are_not_thousands_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    work = []

    def counted(codec: sdp.Codec, **changes: object) -> sdp.Codec:
        work.append(changes)
        return dataclasses.replace(codec, **changes)  # type: ignore[arg-type]

    monkeypatch.setattr(sdp, "replace", counted)
    codecs = "".join(f"a=rtpmap:{pt} x{pt}/90000\r\n" for pt in range(sdp.MAX_CODECS))
    section = section_of(MINIMAL + codecs + "".join(f"a=rtcp-fb:* f{i}\r\n" for i in range(9200)), "video")
    assert len(section.codecs) == sdp.MAX_CODECS
    assert section.codecs[5].feedback == tuple(f"f{i}" for i in range(sdp.MAX_FEEDBACK))
    assert len(work) <= 2 * sdp.MAX_CODECS + 1
