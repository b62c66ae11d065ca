"""The OpenAPI document as a page that people can read: no scripts, nothing from elsewhere. Pure."""

from __future__ import annotations

import html
import re
from typing import Any

Json = dict[str, Any]
_METHODS = ("get", "post", "put", "patch", "delete")
STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8dce3, #333a45); --soft: light-dark(#f4f6f9, #171b21);
  --dim: light-dark(#5b6472, #9aa4b2); --accent: light-dark(#1f5fbf, #7db2ff); }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; background: light-dark(#fff, #0e1116);
  color: light-dark(#1b2027, #e6e9ee); }
main, nav { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
nav ul { columns: 3 16rem; padding-left: 1.2rem; } nav li { break-inside: avoid; }
a { color: var(--accent); } h1 { margin-bottom: 0; } h2 { margin-top: 3rem; border-bottom: 2px solid var(--line); }
section { border: 1px solid var(--line); border-radius: 10px; padding: 0 1.2rem 1rem; margin: 1.2rem 0; }
h3 { font-size: 1.02rem; overflow-wrap: anywhere; }
code, h3 b { font-family: ui-monospace, monospace; font-size: .92em; }
code { background: var(--soft); padding: .1em .35em; border-radius: 5px; } h3 b { color: var(--accent); }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .35rem .6rem; border-top: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 600; } .dim { color: var(--dim); }
"""


def docs_page(document: Json) -> str:
    """One HTML page with every operation and every shape."""
    info = document["info"]
    tags = document["tags"]
    title = html.escape(f"{info['title']} {info['version']}")
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: interface</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="/static/favicon.svg"><link rel="stylesheet" href="/docs/style.css"></head><body>',
        f'<nav><h1>{title}</h1><p>{_inline(info["summary"])} <a href="/openapi.json">OpenAPI document</a></p>',
        _text(info["description"]),
        "<ul>",
        *(f'<li><a href="#{tag["name"]}">{html.escape(tag["name"])}</a></li>' for tag in tags),
        '<li><a href="#shapes">shapes</a></li></ul></nav><main>',
    ]
    for tag in tags:
        parts.append(f'<h2 id="{tag["name"]}">{html.escape(tag["name"])}</h2><p>{_inline(tag["description"])}</p>')
        parts += [
            _operation(document, path, method, item)
            for path, item in document["paths"].items()
            for method in _METHODS
            if method in item and tag["name"] in item[method]["tags"]
        ]
    parts.append('<h2 id="shapes">shapes</h2>')
    parts += [
        f'<section id="{name}"><h3>{name}</h3>{_shape(document, schema)}</section>'
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    parts.append("</main></body></html>")
    return "".join(parts)


def _operation(document: Json, path: str, method: str, item: Json) -> str:
    operation = item[method]
    parts = [
        f'<section id="{operation["operationId"]}"><h3><b>{method.upper()}</b> {html.escape(path)}</h3>',
        f"<p>{_inline(operation['summary'])}</p>",
        _text(operation.get("description", "")),
        _parameters(document, [*item.get("parameters", []), *operation.get("parameters", [])]),
    ]
    body = operation.get("requestBody")
    if body:
        schema = body["content"]["application/json"]["schema"]
        need = "" if body.get("required") else ' <span class="dim">(may be left out)</span>'
        parts.append(f"<p>Body: {_type(schema)}{need}</p>")
        if "$ref" not in schema:
            parts.append(_shape(document, schema))
    parts.append("<table><tr><th>Answer</th><th></th><th></th></tr>")
    for status, response in operation["responses"].items():
        found = _resolve(document, response)
        content = "; ".join(
            f"<code>{html.escape(kind)}</code> {_type(value['schema'])}"
            for kind, value in found.get("content", {}).items()
        )
        shown = "else" if status == "default" else status
        parts.append(f"<tr><td>{shown}</td><td>{_inline(found['description'])}</td><td>{content}</td></tr>")
    return "".join([*parts, "</table></section>"])


def _parameters(document: Json, parameters: list[Json]) -> str:
    if not parameters:
        return ""
    rows = []
    for parameter in parameters:
        found = _resolve(document, parameter)
        need = "" if found.get("required") else ' <span class="dim">optional</span>'
        rows.append(
            f"<tr><td><code>{html.escape(found['name'])}</code>{need}</td><td>{found['in']}</td>"
            f"<td>{_type(found['schema'])}</td><td>{_inline(found.get('description', ''))}</td></tr>"
        )
    return f"<table><tr><th>Parameter</th><th>in</th><th>type</th><th></th></tr>{''.join(rows)}</table>"


def _shape(document: Json, schema: Json) -> str:
    properties = schema.get("properties")
    if not properties:
        return f"<p>{_type(schema)} {_inline(schema.get('description', ''))}</p>"
    required = set(schema.get("required", ()))
    rows = []
    for name, value in properties.items():
        need = "" if name in required else ' <span class="dim">optional</span>'
        nested = value if "properties" in value else value.get("items", {})
        inner = _shape(document, nested) if "properties" in nested else ""
        rows.append(
            f"<tr><td><code>{html.escape(name)}</code>{need}</td><td>{_type(value)}</td>"
            f"<td>{_inline(value.get('description', ''))}{inner}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if "oneOf" in schema:
        return " or ".join(_type(each) for each in schema["oneOf"])
    if "enum" in schema:
        return " ".join(f"<code>{html.escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{html.escape(str(schema['const']))}</code>"
    kinds = schema.get("type", "any")
    shown = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if kinds == "array":
        return f"list of {_type(schema['items'])}"
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in schema
    ]
    return html.escape(", ".join([shown, *bounds]))


def _resolve(document: Json, value: Json) -> Json:
    reference = value.get("$ref")
    if reference is None:
        return value
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.strip().split("\n\n") if part)


def _inline(text: str) -> str:
    escaped = html.escape(" ".join(text.split()))
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", escaped)
