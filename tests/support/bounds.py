"""The bounds of a JSON schema: values at each of them, and the first values outside."""

import math
import re
from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

Schema = dict[str, Any]
Place = tuple[str | int, ...]
TEXTS = ["a", "1", "*", '"a"', "head", "last-2-blocks", "last-0-blocks", "a b", "-", "é", " ", ""]
OTHER = "none-of-these"


class Bound(NamedTuple):
    """A value, and whether the schema takes it."""

    value: Any
    inside: bool
    what: str


def bounds(schema: Schema, schemas: dict[str, Schema], *, text: bool = False) -> Iterator[Bound]:
    """Yield values at the schema's bounds and just outside; with `text`, of a query or a form."""
    schema = resolved(schema, schemas)
    options = [resolved(each, schemas) for each in schema.get("anyOf", [schema])]
    if not text:
        yield Bound(None, {"type": "null"} in options, "null")
    for each in options:
        kind = each.get("type")
        if kind in ("integer", "number"):
            yield from _of_number(each)
        elif kind == "string":
            yield from _of_text(each)
        elif kind == "array" and not text:
            yield from _of_array(each, schemas)
        elif kind == "object" and not text:
            yield from _of_object(each)


def resolved(schema: Schema, schemas: dict[str, Schema]) -> Schema:
    """Return the schema that a reference names, or the schema itself."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return schemas[name] if name else schema


def places(schema: Schema, schemas: dict[str, Schema], at: Place = ()) -> Iterator[tuple]:
    """Yield the place and the schema of every member, also of members' members."""
    schema = resolved(schema, schemas)
    if at:
        yield at, schema
    for name, each in schema.get("properties", {}).items():
        yield from places(each, schemas, (*at, name))
    for each in schema.get("anyOf", ()):
        for place, found in places(each, schemas, at):
            if place != at:
                yield place, found
    if schema.get("type") == "array" and at:
        yield from places(schema["items"], schemas, (*at, 0))


def changed(body: Any, place: Place, value: Any) -> Any:
    """Return the body with this value at the place; None if the body does not reach so far."""
    made = deepcopy(body)
    inside = made
    for name, following in pairwise(place):
        if isinstance(inside, dict) and name not in inside:
            inside[name] = [None] if following == 0 else {}
        elif isinstance(inside, list) and not len(inside) > int(name):
            return None
        inside = inside[name]
        if not isinstance(inside, dict | list):
            return None
    if isinstance(inside, list) and not len(inside) > int(place[-1]):
        return None
    inside[place[-1]] = value
    return made


def _of_number(schema: Schema) -> Iterator[Bound]:
    def beyond(value: float, towards: float) -> float:
        step = 1 if towards > 0 else -1
        is_integer = schema["type"] == "integer"
        return value + step if is_integer else math.nextafter(float(value), towards)

    for name, towards in (("minimum", -math.inf), ("maximum", math.inf)):
        if name in schema:
            value = schema[name]
            yield Bound(value, True, f"{name} {value}")
            yield Bound(beyond(value, towards), False, f"beyond {name} {value}")
    if "exclusiveMinimum" in schema:
        value = schema["exclusiveMinimum"]
        yield Bound(value, False, f"exclusiveMinimum {value}")
        yield Bound(beyond(value, math.inf), True, f"above exclusiveMinimum {value}")


def _of_text(schema: Schema) -> Iterator[Bound]:
    def fits(text: str) -> bool:
        length = schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", math.inf)
        return length and re.search(schema.get("pattern", ""), text) is not None

    if "enum" in schema:
        yield from (Bound(each, True, f"one of {schema['enum']}") for each in schema["enum"])
        yield Bound(OTHER, False, f"none of {schema['enum']}")
        return
    if "maxLength" in schema:
        most = schema["maxLength"]
        yield Bound("a" * most, fits("a" * most), f"maxLength {most}")
        yield Bound("a" * (most + 1), False, f"beyond maxLength {most}")
    if "minLength" in schema:
        least = schema["minLength"]
        yield Bound("a" * least, fits("a" * least), f"minLength {least}")
        yield Bound("a" * (least - 1), False, f"below minLength {least}")
    if "pattern" in schema:
        for each in TEXTS:
            yield Bound(each, fits(each), f"pattern {schema['pattern']}")


def _of_array(schema: Schema, schemas: dict[str, Schema]) -> Iterator[Bound]:
    def items(count: int) -> list[Any]:
        return [_item(resolved(schema["items"], schemas), number) for number in range(count)]

    if "maxItems" in schema:
        most = schema["maxItems"]
        yield Bound(items(most), True, f"maxItems {most}")
        yield Bound(items(most + 1), False, f"beyond maxItems {most}")
    if "minItems" in schema:
        least = schema["minItems"]
        yield Bound(items(least), True, f"minItems {least}")
        yield Bound(items(least - 1), False, f"below minItems {least}")


def _item(schema: Schema, number: int) -> Any:
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    if schema.get("type") == "object":
        properties, needed = schema["properties"], schema.get("required", ())
        return {name: _item(properties[name], number) for name in needed}
    return f"a{number}"


def _of_object(schema: Schema) -> Iterator[Bound]:
    value = schema.get("additionalProperties")
    if value is False:
        return  # a model: see `places`
    for name, wanted in (("maxProperties", 1), ("minProperties", -1)):
        if name in schema:
            count = schema[name]
            yield Bound(_object(count), True, f"{name} {count}")
            yield Bound(_object(count + wanted), False, f"beyond {name} {count}")
    for each in _of_text(schema.get("propertyNames", {})):
        yield Bound({each.value: "a"}, each.inside, f"a name: {each.what}")
    if isinstance(value, dict):
        for each in _of_text(value):
            yield Bound({"a": each.value}, each.inside, f"a value: {each.what}")


def _object(count: int) -> dict[str, str]:
    return {f"a{number}": "a" for number in range(count)}
