"""The pages' types are those of the OpenAPI document: same members, same optional ones, same words of every enum."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "runtime/web/src"
TYPES = "".join((PAGES / name).read_text(encoding="utf-8") for name in ("api/types.ts", "admin/types.ts"))
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "runtime/coordinator/openapi.yaml").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]

INTERFACE = re.compile(r"^export interface (\w+)(?:<T>)? \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
MEMBER = re.compile(r"^  (\w+)(\??): (.+?);$", re.MULTILINE)
UNION = re.compile(r'^(?:\(?"\w+"(?: \| "\w+")*\)?)(?:\[\])?$')

# Names that differ, because the same shape has another name or stands inline in the document.
ALIASES = {
    "TitleLimits": SCHEMAS["Title"]["properties"]["limits"],
    "Invitee": SCHEMAS["Booking"]["properties"]["invitees"]["items"],
    "FreeStretch": SCHEMAS["Schedule"]["properties"]["items"]["items"],
    "AdminTitleLimits": SCHEMAS["AdminTitle"]["properties"]["limits"],
    "HostHeartbeat": SCHEMAS["Host"]["properties"]["heartbeat"],
    "HostGpu": SCHEMAS["Host"]["properties"]["heartbeat"]["properties"]["gpus"]["items"],
}
NOT_IN_DOCUMENT = {"Page", "ErrorBody"}


def members(body: str) -> dict[str, tuple[bool, str]]:
    """``{name: (is optional, type)}`` of the top level of an interface."""
    return {name: (bool(mark), kind) for name, mark, kind in MEMBER.findall(body)}


def interfaces() -> list[tuple[str, dict[str, tuple[bool, str]]]]:
    return [(name, members(body)) for name, body in INTERFACE.findall(TYPES) if name not in NOT_IN_DOCUMENT]


def schema_of(name: str) -> dict[str, Any]:
    return ALIASES.get(name) or SCHEMAS[name]


def test_the_types_are_found() -> None:
    assert {name for name, _ in interfaces()} >= {"Me", "Title", "Session", "Invite", "JoinReply", "InvitePreview"}


@pytest.mark.parametrize(("name", "own"), interfaces(), ids=[name for name, _ in interfaces()])
def test_members(name: str, own: dict[str, tuple[bool, str]]) -> None:
    schema = schema_of(name)
    assert set(own) == set(schema["properties"]), "members that only one side knows"
    optional = {member for member, (is_optional, _) in own.items() if is_optional}
    assert optional == set(schema["properties"]) - set(schema["required"]), "members that only one side calls optional"


@pytest.mark.parametrize(("name", "own"), interfaces(), ids=[name for name, _ in interfaces()])
def test_enums(name: str, own: dict[str, tuple[bool, str]]) -> None:
    for member, (_, kind) in own.items():
        schema = schema_of(name)["properties"][member]
        words = schema.get("enum") or schema.get("items", {}).get("enum")
        if UNION.match(kind):
            assert words is not None, f"{member} is a choice only on the pages"
            assert set(re.findall(r'"(\w+)"', kind)) == set(words), member
