"""Options of the sample title: its own, and those that Unreal Engine takes, so that it can stand in for a build.

Unreal's flags start with one dash, are case-insensitive and unknown ones are ignored (Epic, "Pixel Streaming
reference"); ours start with two dashes and must be right. The signalling URL carries a secret, so the environment is
preferred to the command line, where every user of the machine could read it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

MIN_WIDTH, MIN_HEIGHT = 320, 180
MAX_WIDTH, MAX_HEIGHT = 3840, 2160
DEFAULT_BITRATE_BPS = 4_000_000
MIN_BITRATE_BPS = 150_000
MAX_BITRATE_BPS = 40_000_000

URL_VARIABLE = "PIXELSTREAM_STREAMER_URL"
ID_VARIABLE = "PIXELSTREAM_STREAMER_ID"

# Our options that take no value; what follows one of them may be Unreal's.
_SWITCHES = frozenset(
    {"--help", "--never-connect", "--hang-on-stop", "--ignore-signals", "--spawn-child", "--allow-commands"}
)


class OptionsError(ValueError):
    """An option that cannot be used; the text names it and says what is expected."""


@dataclass(frozen=True, kw_only=True)
class StreamerOptions:
    """What to stream, where to, and how to misbehave."""

    url: str | None = None
    streamer_id: str = "DefaultStreamer"
    codec: str = "h264"
    width: int = 1280
    height: int = 720
    fps: int = 30
    bitrate_bps: int = DEFAULT_BITRATE_BPS
    min_bitrate_bps: int = MIN_BITRATE_BPS
    max_bitrate_bps: int = 20_000_000
    allow_commands: bool = False
    listen: tuple[str, int] | None = None
    # Without a signalling server for this long, the title gives up (exit code 4).
    give_up_seconds: float = 900.0
    log_style: str = "text"
    # Misbehaviour, for tests of whoever starts it
    crash_after_seconds: float | None = None
    exit_after_seconds: float | None = None
    never_connect: bool = False
    hang_on_stop: bool = False
    ignore_signals: bool = False
    spawn_child: bool = False


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> StreamerOptions:
    """Options from the command line and the environment; raise ``OptionsError``. ``-h`` exits as argparse does."""
    ours, unreal = _split(argv)
    given = _parser().parse_args(ours)
    options = StreamerOptions(
        url=given.url or environment.get(URL_VARIABLE) or None,
        streamer_id=given.id or environment.get(ID_VARIABLE) or "DefaultStreamer",
        codec=given.codec,
        fps=given.fps,
        bitrate_bps=given.bitrate_bps,
        min_bitrate_bps=given.min_bitrate_bps,
        max_bitrate_bps=given.max_bitrate_bps,
        allow_commands=given.allow_commands,
        give_up_seconds=given.give_up_after,
        log_style=given.log_style,
        crash_after_seconds=given.crash_after,
        exit_after_seconds=given.exit_after,
        never_connect=given.never_connect,
        hang_on_stop=given.hang_on_stop,
        ignore_signals=given.ignore_signals,
        spawn_child=given.spawn_child,
    )
    if given.size is not None:
        width, height = _size(given.size)
        options = replace(options, width=width, height=height)
    if given.listen is not None:
        options = replace(options, listen=_listen(given.listen))
    # What the command line says in Unreal's words counts unless our own option says otherwise.
    options = _apply_unreal(options, unreal, own_url=given.url is not None, own_id=given.id is not None)
    return _checked(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pixelstream streamer",
        description="The sample title: an animated, interactive scene, streamed as Unreal's Pixel Streaming does.",
        epilog="Unreal's flags (-PixelStreamingURL=, -PixelStreamingID=, -ResX=, ...) are taken too, others ignored.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--url", help=f"signalling server, ws:// or wss:// (better: environment variable {URL_VARIABLE})")
    add("--id", help=f"streamer id (or {ID_VARIABLE}; default DefaultStreamer)")
    add("--codec", choices=("h264", "vp8"), default="h264")
    add("--size", metavar="WxH", help="picture size, default 1280x720")
    add("--fps", type=int, default=30, help="highest frame rate, default 30")
    add("--bitrate-bps", type=int, default=DEFAULT_BITRATE_BPS, help="video bitrate to start with")
    add("--min-bitrate-bps", type=int, default=MIN_BITRATE_BPS)
    add("--max-bitrate-bps", type=int, default=20_000_000)
    add(
        "--listen",
        metavar="HOST:PORT",
        help="serve a page and signalling here: browsers connect directly, without a relay",
    )
    add(
        "--give-up-after",
        type=float,
        default=900.0,
        metavar="SECONDS",
        help="exit 4 when no server answered for so long",
    )
    add("--allow-commands", action="store_true", help="obey console commands, as -AllowPixelStreamingCommands")
    add("--log-style", choices=("text", "json"), default="text")
    bad = parser.add_argument_group("misbehaviour, for tests")
    bad.add_argument(
        "--crash-after", type=float, metavar="SECONDS", help="die at once without cleaning up, exit code 70"
    )
    bad.add_argument("--exit-after", type=float, metavar="SECONDS", help="stop in good order, exit code 0")
    bad.add_argument("--never-connect", action="store_true", help="run, but never open the signalling socket")
    bad.add_argument("--hang-on-stop", action="store_true", help="obey SIGTERM by closing the stream, then never exit")
    bad.add_argument("--ignore-signals", action="store_true", help="ignore SIGTERM and SIGINT")
    bad.add_argument("--spawn-child", action="store_true", help="start a child that outlives this process")
    return parser


def _split(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Our own arguments, and Unreal's by lower-case name; a map name or other positional goes with Unreal's."""
    ours: list[str] = []
    unreal: dict[str, str] = {}
    takes_value = False
    for argument in argv:
        if takes_value or argument.startswith("--") or argument == "-h":
            ours.append(argument)
            takes_value = not takes_value and argument not in _SWITCHES and argument != "-h" and "=" not in argument
        else:
            name, _, value = argument.lstrip("-").partition("=")
            unreal[name.lower()] = value.strip('"')
    return ours, unreal


def _apply_unreal(
    options: StreamerOptions, flags: Mapping[str, str], *, own_url: bool, own_id: bool
) -> StreamerOptions:
    """Take what Unreal's flags say; names of Pixel Streaming 1 and 2."""
    url = next(
        (flags[name] for name in
         ("pixelstreamingconnectionurl", "pixelstreamingsignallingurl", "pixelstreamingurl") if flags.get(name)),
        None,
    )  # fmt: skip
    if url is None and flags.get("pixelstreamingip"):
        url = f"ws://{flags['pixelstreamingip']}:{flags.get('pixelstreamingport') or 8888}"
    if url is not None and not own_url:
        options = replace(options, url=url)
    if flags.get("pixelstreamingid") and not own_id:
        options = replace(options, streamer_id=flags["pixelstreamingid"])
    if flags.get("resx") and flags.get("resy"):
        width, height = _size(f"{flags['resx']}x{flags['resy']}")
        options = replace(options, width=width, height=height)
    codec = flags.get("pixelstreamingencodercodec", "").lower()
    if codec in ("h264", "vp8"):
        options = replace(options, codec=codec)
    return replace(
        options,
        fps=_number(flags, "pixelstreamingwebrtcfps", default=options.fps),
        bitrate_bps=_number(
            flags, "pixelstreamingwebrtcstartbitrate", "pixelstreamingencodertargetbitrate", default=options.bitrate_bps
        ),
        min_bitrate_bps=_number(flags, "pixelstreamingwebrtcminbitrate", default=options.min_bitrate_bps),
        max_bitrate_bps=_number(flags, "pixelstreamingwebrtcmaxbitrate", default=options.max_bitrate_bps),
        allow_commands=options.allow_commands or "allowpixelstreamingcommands" in flags,
    )


def _number(flags: Mapping[str, str], *names: str, default: int) -> int:
    """The first of the flags that is a number; Unreal uses -1 for "not set"."""
    return next((int(flags[name]) for name in names if re.fullmatch(r"\d{1,10}", flags.get(name, ""))), default)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise OptionsError(f"--size {text!r} is not WIDTHxHEIGHT, for example 1280x720")
    return int(match[1]), int(match[2])


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise OptionsError(f"--listen {text!r} is not HOST:PORT, for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def fit_size(width: int, height: int) -> tuple[int, int]:
    """The nearest size that can be encoded: even sides within the limits."""
    return (
        min(MAX_WIDTH, max(MIN_WIDTH, width)) & ~1,
        min(MAX_HEIGHT, max(MIN_HEIGHT, height)) & ~1,
    )


def _checked(options: StreamerOptions) -> StreamerOptions:
    if (options.width, options.height) != fit_size(options.width, options.height):
        raise OptionsError(
            f"size {options.width}x{options.height}: sides must be even, "
            f"{MIN_WIDTH}x{MIN_HEIGHT} to {MAX_WIDTH}x{MAX_HEIGHT}"
        )
    if not 1 <= options.fps <= 120:
        raise OptionsError(f"--fps {options.fps} is not within 1..120")
    if not MIN_BITRATE_BPS <= options.min_bitrate_bps <= options.max_bitrate_bps <= MAX_BITRATE_BPS:
        raise OptionsError(f"bitrates must satisfy {MIN_BITRATE_BPS} <= min <= max <= {MAX_BITRATE_BPS}")
    if options.url is not None and not re.match(r"wss?://[^/]", options.url):
        # The address may hold a secret, so it is not repeated.
        raise OptionsError("the signalling URL must start with ws:// or wss:// and name a host")
    if options.url is None and options.listen is None and not options.never_connect:
        raise OptionsError(f"no signalling server: set {URL_VARIABLE}, or give --url, -PixelStreamingURL= or --listen")
    bitrate = min(options.max_bitrate_bps, max(options.min_bitrate_bps, options.bitrate_bps))
    return replace(options, bitrate_bps=bitrate)
