"""Session descriptions as peers write them (RFC 8866, RFC 8829): the parts a packet forwarder needs.

Parsing is lenient: unknown attributes are skipped, a malformed line is skipped, and only what a later step needs and
misses is an error. Every value that may later be copied into another peer's description is checked to be printable
ASCII, so that no peer can write lines into it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MAX_TEXT = 256 * 1024
MAX_SECTIONS = 32
MAX_CODECS = 128
MAX_FEEDBACK = 32
DEFAULT_MAX_MESSAGE_BYTES = 65_536  # RFC 8841 section 6.1
_LINE_END = re.compile(r"\r\n|\n|\r")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~/-]{1,256}")
_EXTMAP = re.compile(r"(\d{1,5})(?:/\S+)? (\S+)")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


class SdpError(ValueError):
    """The description cannot be used; the text is fit for the peer's log."""


@dataclass(frozen=True)
class Codec:
    """One payload type of one section."""

    pt: int
    name: str
    clock_rate: int
    channels: int = 1
    fmtp: str = ""
    feedback: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, str]:
        pairs = (part.strip().partition("=") for part in self.fmtp.split(";") if part.strip())
        return {key.strip().lower(): value.strip() for key, _, value in pairs}

    @property
    def rtpmap(self) -> str:
        return f"{self.name}/{self.clock_rate}" + (f"/{self.channels}" if self.channels > 1 else "")

    @property
    def upper_name(self) -> str:
        return self.name.upper()


@dataclass
class Section:
    """One m= section."""

    kind: str
    protocol: str
    port: int
    formats: tuple[str, ...]
    mid: str = ""
    bundle_only: bool = False
    direction: str = "sendrecv"
    codecs: dict[int, Codec] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    ssrcs: list[int] = field(default_factory=list)
    ssrc_groups: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    simulcast_send: tuple[str, ...] = ()  # rids, in the order of the offer
    feedback: list[str] = field(default_factory=list)  # of all codecs, "*"

    @property
    def active(self) -> bool:
        """Port 0 rejects a section, unless it is only waiting to be bundled (RFC 9143 section 6)."""
        return self.port != 0 or self.bundle_only

    @property
    def sends(self) -> bool:
        return self.active and self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        return self.active and self.direction in ("sendrecv", "recvonly")

    def ordered_codecs(self) -> list[Codec]:
        """In the order of preference of whoever wrote the section."""
        order = [number for text in self.formats if (number := _int(text, 127)) is not None]
        return [self.codecs[pt] for pt in order if pt in self.codecs and self.codecs[pt].name]

    def rtx_for(self, pt: int) -> Codec | None:
        wanted = str(pt)
        for codec in self.ordered_codecs():
            if codec.upper_name == "RTX" and codec.parameters.get("apt") == wanted:
                return codec
        return None


@dataclass
class Description:
    """A remote description. Transport attributes come from the first section that has them: everything is bundled."""

    ufrag: str = ""
    pwd: str = ""
    setup: str = ""
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    sctp_port: int = 0
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES

    def first_sending(self, kind: str) -> Section | None:
        return next((s for s in self.sections if s.kind == kind and s.sends), None)

    def by_mid(self, mid: str) -> Section | None:
        return next((s for s in self.sections if s.mid == mid), None)


def parse(text: str) -> Description:
    """Raises :class:`SdpError`."""
    if len(text) > MAX_TEXT:
        raise SdpError("the description is too long")
    result = Description()
    section: Section | None = None
    for line in _LINE_END.split(text):
        kind, _, value = line.partition("=")
        if kind not in ("m", "a") or not _PRINTABLE.fullmatch(value):
            continue
        if kind == "m":
            section = _section(value, len(result.sections))
            result.sections.append(section)
        else:
            name, _, rest = value.partition(":")
            if section is not None and _section_attribute(section, name, rest):
                continue
            _transport_attribute(result, name, rest)
    for section in result.sections:
        _spread_feedback(section)
    if not result.sections:
        raise SdpError("the description has no media section")
    if len({s.mid for s in result.sections}) != len(result.sections):
        raise SdpError("two media sections have the same mid, or none")
    if not (result.ufrag and result.pwd and result.fingerprints):
        raise SdpError("no ICE credentials or no DTLS fingerprint")
    return result


def _int(text: str, maximum: int) -> int | None:
    """A non-negative decimal number, or None; ``int`` alone accepts signs, spaces, underscores and other scripts."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return None
    number = int(text)
    return number if number <= maximum else None


def _section(value: str, index: int) -> Section:
    fields = value.split()
    port = _int(fields[1].partition("/")[0], 65535) if len(fields) >= 4 else None
    if port is None or index >= MAX_SECTIONS:
        raise SdpError(f"bad media line: {value[:80]}")
    tokens = [f for f in fields if _TOKEN.fullmatch(f)]
    if len(tokens) != len(fields):
        raise SdpError(f"bad media line: {value[:80]}")
    return Section(fields[0], fields[2], port, tuple(fields[3 : 3 + MAX_CODECS]))


def _transport_attribute(result: Description, name: str, value: str) -> None:
    """Attributes that are the same for the whole bundle."""
    if name == "ice-ufrag" and _TOKEN.fullmatch(value):
        result.ufrag = result.ufrag or value
    elif name == "ice-pwd" and _TOKEN.fullmatch(value):
        result.pwd = result.pwd or value
    elif name == "setup":
        result.setup = result.setup or value
    elif name == "fingerprint":
        algorithm, _, digest = value.partition(" ")
        pair = (algorithm.strip().lower(), digest.strip().upper())
        if all(pair) and pair not in result.fingerprints and len(result.fingerprints) < 8:
            result.fingerprints.append(pair)
    elif name == "sctp-port":
        result.sctp_port = _int(value, 65535) or 0
    elif name == "sctpmap":  # the form before RFC 8841, still written by Unreal 4
        result.sctp_port = _int(value.partition(" ")[0], 65535) or 0
    elif name == "max-message-size":
        number = _int(value, 2**31)
        result.max_message_bytes = DEFAULT_MAX_MESSAGE_BYTES if number is None else number


def _section_attribute(section: Section, name: str, value: str) -> bool:
    """True if the attribute belongs to the section."""
    if name == "mid":
        if _TOKEN.fullmatch(value):
            section.mid = value
    elif name in _DIRECTIONS:
        section.direction = name
    elif name == "bundle-only":
        section.bundle_only = True
    elif name in ("rtpmap", "fmtp", "rtcp-fb"):
        _codec_attribute(section, name, value)
    elif name == "extmap":
        match = _EXTMAP.match(value)
        if match and 1 <= int(match[1]) <= 255 and len(section.extensions) < 64:
            section.extensions.setdefault(match[2], int(match[1]))
    elif name in ("ssrc", "ssrc-group", "simulcast"):
        _stream_attribute(section, name, value)
    else:
        return False
    return True


def _stream_attribute(section: Section, name: str, value: str) -> None:
    words = value.split()
    if not words:
        return
    numbers = [n for n in (_int(word, 0xFFFFFFFF) for word in words) if n is not None]
    if name == "ssrc":
        if numbers and numbers[0] not in section.ssrcs and len(section.ssrcs) < 32:
            section.ssrcs.append(numbers[0])
    elif name == "ssrc-group":
        if len(section.ssrc_groups) < 16:
            section.ssrc_groups.append((words[0].upper(), tuple(numbers[:8])))
    elif words[0] == "send" and len(words) > 1:
        rids = (alternatives.partition(",")[0].lstrip("~") for alternatives in words[1].split(";"))
        section.simulcast_send = tuple(rid for rid in rids if _TOKEN.fullmatch(rid))[:4]


def _codec_attribute(section: Section, name: str, value: str) -> None:
    pt_text, _, rest = value.partition(" ")
    rest = rest.strip()
    if pt_text == "*" and name == "rtcp-fb":
        if len(section.feedback) < MAX_FEEDBACK:
            section.feedback.append(rest)
        return
    pt = _int(pt_text, 127)
    if pt is None or (pt not in section.codecs and len(section.codecs) >= MAX_CODECS):
        return
    codec = section.codecs.get(pt, Codec(pt, "", 0))
    if name == "rtpmap":
        codec = _rtpmap(codec, rest)
    elif name == "fmtp":
        codec = replace(codec, fmtp=rest)
    elif len(codec.feedback) < MAX_FEEDBACK:
        codec = replace(codec, feedback=(*codec.feedback, rest))
    section.codecs[pt] = codec


def _spread_feedback(section: Section) -> None:
    """What is said of all payload types holds for those of later lines too (RFC 4585 section 4.2). Once at the end:
    a description may have thousands of such lines."""
    if section.feedback:
        for pt, codec in section.codecs.items():
            feedback = (*codec.feedback, *section.feedback)[:MAX_FEEDBACK]
            section.codecs[pt] = replace(codec, feedback=feedback)


def _rtpmap(codec: Codec, value: str) -> Codec:
    parts = value.split("/")
    clock_rate = _int(parts[1], 10_000_000) if len(parts) > 1 else None
    channels = (_int(parts[2], 255) if len(parts) > 2 else 1) or 1
    if not clock_rate or not _TOKEN.fullmatch(parts[0]):
        return codec
    return replace(codec, name=parts[0], clock_rate=clock_rate, channels=channels)


def same_parameters(mine: Mapping[str, str], theirs: Mapping[str, str], keys: Mapping[str, str]) -> bool:
    """Whether two format parameter sets agree on ``keys`` (name -> value when absent)."""
    return all(mine.get(key, default) == theirs.get(key, default) for key, default in keys.items())
