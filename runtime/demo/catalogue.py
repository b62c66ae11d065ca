"""The demo's titles: the sample title in several guises, each with a picture drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SampleTitle:
    """One catalogue entry of the sample title."""

    name: str
    display_name: dict[str, str]
    description: dict[str, str]
    arguments: tuple[str, ...]
    width: int
    height: int
    colours: tuple[str, str, str]
    tags: tuple[str, ...]


TITLES = (
    SampleTitle(
        name="sample",
        display_name={"en": "Sample scene", "ru": "Пример сцены"},
        description={
            "en": "An animated scene that answers mouse, wheel, keys and touch. H.264, 1280x720, 30 frames per second.",
            "ru": "Живая сцена: отвечает на мышь, колесо, клавиши и касания. H.264, 1280x720, 30 кадров в секунду.",
        },
        arguments=("--codec", "h264", "--size", "1280x720", "--fps", "30"),
        width=1280,
        height=720,
        colours=("#0f2b46", "#2f8fd0", "#f2c14e"),
        tags=("h264", "720p"),
    ),
    SampleTitle(
        name="sample-vp8",
        display_name={"en": "Sample scene, VP8", "ru": "Пример сцены, VP8"},
        description={
            "en": "The same scene for browsers without H.264. VP8, 1280x720, 30 frames per second.",
            "ru": "Та же сцена для браузеров без H.264. VP8, 1280x720, 30 кадров в секунду.",
        },
        arguments=("--codec", "vp8", "--size", "1280x720", "--fps", "30"),
        width=1280,
        height=720,
        colours=("#2a1a3e", "#9b5de5", "#00f5d4"),
        tags=("vp8", "720p"),
    ),
    SampleTitle(
        name="sample-1080p60",
        display_name={"en": "Sample scene, full HD at 60", "ru": "Пример сцены, full HD, 60 кадров"},
        description={
            "en": "The same scene at 1920x1080 and 60 frames per second. Takes a fast processor.",
            "ru": "Та же сцена, 1920x1080 и 60 кадров в секунду. Нужен быстрый процессор.",
        },
        arguments=("--codec", "h264", "--size", "1920x1080", "--fps", "60", "--bitrate-bps", "8000000"),
        width=1920,
        height=1080,
        colours=("#3b0d11", "#e4572e", "#ffd6a5"),
        tags=("h264", "1080p60"),
    ),
)


def draw(title: SampleTitle) -> str:
    """An SVG of 640x360: hills, a sun and orbits, in the title's colours."""
    dark, middle, light = title.colours
    orbits = "".join(
        f'<ellipse cx="430" cy="130" rx="{60 + 42 * n}" ry="{22 + 15 * n}" fill="none" stroke="{light}" '
        f'stroke-opacity="{0.75 - 0.14 * n:.2f}" stroke-width="2" transform="rotate(-18 430 130)"/>'
        f'<circle cx="{430 + (60 + 42 * n) * (1 if n % 2 else -1) * 0.94:.0f}" cy="{130 - 12 * (n + 1)}" r="{5 + n}" '
        f'fill="{light}"/>'
        for n in range(4)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 360">'
        f'<defs><linearGradient id="sky" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="{dark}"/>'
        f'<stop offset="1" stop-color="{middle}"/></linearGradient></defs>'
        '<rect width="640" height="360" fill="url(#sky)"/>'
        f'<circle cx="430" cy="130" r="34" fill="{light}"/>{orbits}'
        f'<path d="M0 270 Q120 190 250 255 T470 240 T640 265 V360 H0Z" fill="{dark}" fill-opacity=".55"/>'
        f'<path d="M0 310 Q160 250 320 305 T640 300 V360 H0Z" fill="{dark}" fill-opacity=".9"/>'
        f'<text x="28" y="338" font-family="sans-serif" font-size="22" fill="{light}" fill-opacity=".9">'
        f"{title.width} × {title.height} · {title.tags[0].upper()}</text></svg>\n"
    )


def registry(directory: Path, *, host: dict[str, Any]) -> dict[str, Any]:
    """A registry file's content; the pictures are written into ``directory``. ``host`` is everything but its titles."""
    for title in TITLES:
        (directory / f"{title.name}.svg").write_text(draw(title), "utf-8")
    titles = [
        {
            "name": title.name,
            "display_name": title.display_name,
            "description": title.description,
            "picture": f"{title.name}.svg",
            "launch": {"arguments": list(title.arguments), "width": title.width, "height": title.height},
            "tags": list(title.tags),
        }
        for title in TITLES
    ]
    builds = {title.name: {"executable": "pixelstream-streamer", "build": "sample"} for title in TITLES}
    return {"titles": titles, "session_servers": [{**host, "titles": builds}]}
