"""What tests must not do, because it looks like a check and is none."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_no_wait_takes_a_promise_for_true() -> None:
    """Playwright's ``wait_for_function`` does not await its predicate, so an asynchronous one ends the wait at once."""
    waits, faulty = 0, []
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "wait_for_function" and node.args:
                waits += 1
                if "async" in ast.unparse(node.args[0]):
                    faulty.append(f"{path.relative_to(TESTS)}:{node.lineno}")
    assert waits, "this looks for nothing any more"
    assert not faulty, "wait with tests.support.waiting.until and page.evaluate"
