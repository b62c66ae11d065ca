"""Rules of ufw: {protocol, ports, source}, and what ``ufw show added`` makes of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# How ``ufw show added`` ends a line about a rule of ours.
OURS = " comment 'pixelstream'"


def ufw_source(pair: tuple[Mapping[str, Any], str]) -> dict[str, Any]:
    """Return the rule of a (rule, source) pair, limited to that source."""
    rule, source = pair
    return {**rule, "source": source}


def as_shown(rule: Mapping[str, Any]) -> str:
    """Return the line by which ``ufw show added`` tells of an allowing rule of ours."""
    ports = ",".join(sorted(str(rule["ports"]).replace("-", ":").split(","), key=lambda port: int(port.split(":")[0])))
    if "source" in rule:
        return f"ufw allow from {rule['source']} to any port {ports} proto {rule['protocol']}{OURS}"
    return f"ufw allow {ports}/{rule['protocol']}{OURS}"


def ufw_missing(rules: Iterable[Mapping[str, Any]], shown: str) -> list[Mapping[str, Any]]:
    """Return the rules of which ``shown`` does not tell. To add one again would change nothing."""
    lines = {line.strip() for line in shown.splitlines()}
    return [rule for rule in rules if as_shown(rule) not in lines]


def ufw_superfluous(rules: Iterable[Mapping[str, Any]], shown: str) -> list[list[str]]:
    """Return, as words for ``ufw delete``, what ``shown`` has of ours beside ``rules``; others' rules are theirs."""
    wanted = {as_shown(rule) for rule in rules}
    lines = [line.strip() for line in shown.splitlines()]
    ours = [line for line in lines if line.startswith("ufw allow ") and line.endswith(OURS) and line not in wanted]
    return [shlex.split(line.removesuffix(OURS))[1:] for line in ours]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "pixelstream_ufw_source": ufw_source,
            "pixelstream_ufw_missing": ufw_missing,
            "pixelstream_ufw_superfluous": ufw_superfluous,
        }
