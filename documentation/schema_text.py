"""JSON schemas in words, for tables: types, bounds and references."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
}
CODE = re.compile(r"(`[^`]*`)")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def cell(text: str) -> str:
    """Return a text as a table's cell: one line, in which no sign means anything."""
    line = " ".join(text.split()).replace("|", r"\|")
    parts = CODE.split(line)
    return "".join(part if n % 2 else _plain(part) for n, part in enumerate(parts))


def kind(schema: dict[str, Any]) -> str:
    """Return a schema's type in words, with its bounds."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[*{name}*](schemas.md#{name.lower()})"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(kind(each) for each in schema[word])
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    bounds = [words.format(schema[name]) for name, words in BOUNDS.items() if name in schema]
    return ", ".join([_base(schema), *bounds])


def _base(schema: dict[str, Any]) -> str:
    given = schema.get("type", "any")
    if given == "array":
        return f"list of {kind(schema.get('items', {}))}"
    more = schema.get("additionalProperties")
    if given == "object" and isinstance(more, dict):
        return f"object of {kind(more)}"
    if given == "string" and (schema.get("contentMediaType") or schema.get("format") == "binary"):
        return "file"
    return str(given)


def _plain(text: str) -> str:
    return re.sub(r"([*_<\[\]])", r"\\\1", text)
