"""Faults that tests inject: ``faults.json`` beside the state is a list of rules.

A rule is ``{"match": regular expression over the module name or script, "mode": "fail|timeout|drop", "times": 1}``;
``fail`` may carry ``msg``. ``timeout`` answers with WinRM's own time-out fault once (pywinrm then asks again),
``drop`` closes the connection.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    mode: str
    message: str


def take(file: Path, subject: str) -> Fault | None:
    """The first rule with uses left that matches ``subject``; one use is taken."""
    if not file.exists():
        return None
    rules = json.loads(file.read_text())
    for rule in rules:
        if rule.get("times", 1) > 0 and re.search(rule["match"], subject):
            rule["times"] = rule.get("times", 1) - 1
            file.write_text(json.dumps(rules))
            return Fault(rule["mode"], rule.get("msg", "injected failure"))
    return None
