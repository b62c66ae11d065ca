"""Names and chat lines as plain text: nothing invisible, nothing that turns the text around, bounded length."""

from __future__ import annotations

import unicodedata

MAX_NAME_CHARACTERS = 40
# Joiners shape emoji and some scripts; every other format character can hide or reverse text.
_KEPT_FORMAT_CHARACTERS = "\u200c\u200d"


def _visible(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or character in _KEPT_FORMAT_CHARACTERS


def clean_name(text: str) -> str:
    """One line, single spaces, at most ``MAX_NAME_CHARACTERS``; "" when nothing visible is left."""
    spaced = "".join(" " if character.isspace() else character for character in text[: 4 * MAX_NAME_CHARACTERS])
    shown = "".join(filter(_visible, unicodedata.normalize("NFC", spaced)))
    return " ".join(shown.split())[:MAX_NAME_CHARACTERS].strip(" \u200c\u200d")


def clean_text(text: str, max_characters: int) -> str:
    """Lines of visible text, at most ``max_characters``; "" when nothing visible is left."""
    lines = text[: 2 * max_characters].replace("\r\n", "\n").replace("\t", " ").split("\n")
    kept = ["".join(filter(_visible, line)).rstrip() for line in lines]
    return "\n".join(kept)[:max_characters].strip("\n \u200c\u200d")
