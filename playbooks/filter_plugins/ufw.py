"""Rules of ufw: {protocol, ports, source}, and what ``ufw show added`` makes of them."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Protocol, ports in order, and the network that may come in; no network is everybody.
Key = tuple[str, tuple[str, ...], str]

# How ufw 0.36 tells of a rule of ours, with a source and without.
SHOWN_FROM = re.compile(r"ufw allow from (\S+) to any port (\S+) proto (\S+) comment 'pixelstream'")
SHOWN_ALL = re.compile(r"ufw allow ([\d:,]+)/(\S+) comment 'pixelstream'")


def ufw_source(pair: tuple[Mapping[str, Any], str]) -> dict[str, Any]:
    """Return the rule of a (rule, source) pair, limited to that source."""
    rule, source = pair
    return {**rule, "source": source}


def key(protocol: str, ports: str, source: str = "") -> Key:
    """Return what makes two rules the same. ufw keeps a network where an address in it was given, and so on."""
    numbers = sorted(ports.replace("-", ":").split(","), key=lambda port: int(port.split(":")[0]))
    try:
        network = ipaddress.ip_network(source, strict=False)
    except ValueError:  # none, or nothing that ufw would take
        return protocol, tuple(numbers), source
    return protocol, tuple(numbers), str(network) if network.prefixlen else ""


def wanted_keys(rules: Iterable[Mapping[str, Any]]) -> dict[Key, Mapping[str, Any]]:
    return {key(rule["protocol"], str(rule["ports"]), rule.get("source", "")): rule for rule in rules}


def shown_keys(shown: str) -> dict[Key, str]:
    """Return our rules that ``ufw show added`` tells of, each with its line; what others allowed is left out."""
    found = {}
    for line in map(str.strip, shown.splitlines()):
        if match := SHOWN_FROM.fullmatch(line):
            found[key(match[3], match[2], match[1])] = line
        elif match := SHOWN_ALL.fullmatch(line):
            found[key(match[2], match[1])] = line
    return found


def ufw_missing(rules: Iterable[Mapping[str, Any]], shown: str) -> list[Mapping[str, Any]]:
    """Return the rules of which ``shown`` does not tell. To add one again would change nothing."""
    there = shown_keys(shown)
    return [rule for same, rule in wanted_keys(rules).items() if same not in there]


def ufw_superfluous(rules: Iterable[Mapping[str, Any]], shown: str) -> list[list[str]]:
    """Return, as words for ``ufw delete``, what ``shown`` has of ours and ``rules`` have not."""
    wanted = wanted_keys(rules)
    lines = [line for same, line in shown_keys(shown).items() if same not in wanted]
    return [shlex.split(line)[1:-2] for line in lines]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "pixelstream_ufw_source": ufw_source,
            "pixelstream_ufw_missing": ufw_missing,
            "pixelstream_ufw_superfluous": ufw_superfluous,
        }
