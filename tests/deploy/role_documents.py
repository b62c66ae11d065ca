"""Write each role's defaults and README from its argument specification, so that the three cannot disagree.

    python tests/deploy/role_documents.py            write what is out of date
    python tests/deploy/role_documents.py --check    only say what is out of date; exit 1 if anything is

The one source is ``roles/<role>/meta/argument_specs.yml``. An option with a ``default`` gets a line in
``defaults/main.yml``; one that is ``required`` does not, because a made-up value would hide that it is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
NOTICE = "generated from meta/argument_specs.yml by tests/deploy/role_documents.py"


class _Dumper(yaml.SafeDumper):
    """Block style with indented lists and readable multi-line texts, as yamllint and ansible-lint ask."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    style = '"' if "{{" in text or "{%" in text or text == "" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def specification(role: Path) -> dict[str, Any]:
    """Return the ``main`` entry point of the role's argument specification."""
    document = yaml.safe_load((role / "meta/argument_specs.yml").read_text())
    main: dict[str, Any] = document["argument_specs"]["main"]
    return main


def _sentence(text: str | list[str]) -> str:
    return " ".join(" ".join(text.split()) for text in ([text] if isinstance(text, str) else text))


def _comment(text: str, width: int = 118) -> list[str]:
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "#"
        line += " " + word
    return [*lines, line]


def render_defaults(role: Path) -> str:
    """Return the text of ``defaults/main.yml``: every option that has a default, with its description above it."""
    lines = ["---", f"# Change nothing here: {NOTICE}."]
    for name, option in specification(role).get("options", {}).items():
        if option.get("required"):
            continue
        lines += ["", *_comment(_sentence(option["description"]))]
        value = yaml.dump({name: option["default"]}, Dumper=_Dumper, width=100_000, allow_unicode=True, sort_keys=False)
        lines.append(value.rstrip("\n"))
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    text = yaml.dump(value, default_flow_style=True, width=100_000, allow_unicode=True).strip().removesuffix("...")
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`{text[:120] + '…' if len(text) > 120 else text}`"


def render_readme(role: Path) -> str:
    """Return the text of the role's README: what it does, and a table of its variables."""
    main = specification(role)
    description = main["description"]
    paragraphs = [description] if isinstance(description, str) else description
    lines = [f"# {role.name}", "", f"<!-- {NOTICE} -->", "", main["short_description"], ""]
    for paragraph in paragraphs:
        lines += [" ".join(paragraph.split()), ""]
    lines += ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in main.get("options", {}).items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        default = "required" if option.get("required") else _cell(option["default"])
        meaning = _sentence(option["description"]).replace("|", "\\|")
        if "choices" in option:
            meaning += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        lines.append(f"| `{name}` | {kind} | {default} | {meaning} |")
    lines += ["", f"Tag: `{role.name}`.", ""]
    return "\n".join(lines)


def documents() -> dict[Path, str]:
    """Return every generated file of every role, as it should be."""
    wanted: dict[Path, str] = {}
    for specs in sorted((PROJECT / "roles").glob("*/meta/argument_specs.yml")):
        role = specs.parents[1]
        wanted[role / "defaults/main.yml"] = render_defaults(role)
        wanted[role / "README.md"] = render_readme(role)
    return wanted


def stale() -> dict[Path, str]:
    """Return the generated files whose content on disk differs from what it should be."""
    return {path: text for path, text in documents().items() if not path.exists() or path.read_text() != text}


def main(arguments: list[str]) -> int:
    outdated = stale()
    for path, text in outdated.items():
        print(path.relative_to(PROJECT))
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if outdated and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
