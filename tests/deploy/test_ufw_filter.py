"""Which of our rules ufw already has, by its own words."""

from __future__ import annotations

from typing import Any

import pytest

from .running import load_plugin

plugin = load_plugin("playbooks/filter_plugins/ufw.py")
# As ufw 0.36 says it.
SHOWN = """\
Added user rules (see 'ufw status' for running firewall):
ufw allow 22/tcp comment 'pixelstream'
ufw allow 993,3478/tcp comment 'pixelstream'
ufw allow 8900:8999/udp comment 'pixelstream'
ufw allow from 10.0.0.1 to any port 8750 proto tcp comment 'pixelstream'
ufw allow from 2001:db8::/32 to any port 22 proto tcp comment 'pixelstream'
"""


@pytest.mark.parametrize(
    "rule",
    [
        {"protocol": "tcp", "ports": 22},
        {"protocol": "tcp", "ports": "3478,993"},
        {"protocol": "udp", "ports": "8900-8999"},
        {"protocol": "tcp", "ports": 8750, "source": "10.0.0.1"},
        {"protocol": "tcp", "ports": 22, "source": "2001:db8::/32"},
    ],
)
def test_what_ufw_shows_is_not_made_again(rule: dict[str, Any]) -> None:
    assert plugin.ufw_missing([rule], SHOWN) == []
    assert plugin.ufw_missing([rule], "") == [rule]


@pytest.mark.parametrize(
    "rule",
    [
        {"protocol": "udp", "ports": 22},
        {"protocol": "tcp", "ports": 2},
        {"protocol": "tcp", "ports": 8750},
        {"protocol": "tcp", "ports": 8750, "source": "10.0.0.2"},
    ],
)
def test_what_is_only_similar_is_missing(rule: dict[str, Any]) -> None:
    assert plugin.ufw_missing([rule], SHOWN) == [rule]


def test_a_rule_that_is_no_longer_wanted_goes_and_nobody_elses_does() -> None:
    wanted = [
        {"protocol": "tcp", "ports": "3478,993"},
        {"protocol": "udp", "ports": "8900-8999"},
        {"protocol": "tcp", "ports": 22, "source": "2001:db8::/32"},
    ]
    others = SHOWN + "ufw allow 9100/tcp comment 'monitoring'\nufw allow 25/tcp\nufw deny 1/tcp comment 'pixelstream'\n"
    assert plugin.ufw_superfluous(wanted, others) == [
        ["allow", "22/tcp"],
        ["allow", "from", "10.0.0.1", "to", "any", "port", "8750", "proto", "tcp"],
    ]
    assert plugin.ufw_superfluous(wanted, "") == []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("203.0.113.5/32", "ufw allow from 203.0.113.5 to any port 22 proto tcp comment 'pixelstream'"),
        ("192.168.1.10/24", "ufw allow from 192.168.1.0/24 to any port 22 proto tcp comment 'pixelstream'"),
        ("FD00:0:0::10", "ufw allow from fd00::10 to any port 22 proto tcp comment 'pixelstream'"),
        ("0.0.0.0/0", "ufw allow 22/tcp comment 'pixelstream'"),
        ("::/0", "ufw allow 22/tcp comment 'pixelstream'"),
    ],
)
def test_an_address_counts_and_not_how_it_is_written(source: str, line: str) -> None:
    """ufw keeps it in a form of its own; the way in of whoever deploys must not be taken for somebody's leftover."""
    rules = [{"protocol": "tcp", "ports": 22, "source": source}]
    assert plugin.ufw_missing(rules, line) == []
    assert plugin.ufw_superfluous(rules, line) == []
    assert plugin.ufw_superfluous([], line) == [line.removesuffix(" comment 'pixelstream'").split()[1:]]
