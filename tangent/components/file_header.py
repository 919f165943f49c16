"""The header of a safetensors file: the JSON object that says where its tensors lie, checked."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tangent.errors import BadComponent

MAX_BYTES = 16 * 2**20  # ten thousand long labels have a third of it
MAX_VALUES = 300_000  # of one JSON text; the entries of MAX_TENSORS have a third of them
MAX_TENSORS = 10_000  # a large backbone has a thousand


def header_of(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a valid file, and the place where its tensors begin.

    Raises:
        BadComponent: the file is not safetensors, or its header is too large or ambiguous.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_BYTES:
                raise ValueError(f"its header has {length} bytes, the most is {MAX_BYTES}")
            text = file.read(length)
            if len(text) < max(length, 1):
                raise ValueError("it is empty" if not length else "it ends within its header")
            header: dict[str, Any] = _json_of(text)
        if len(header) > MAX_TENSORS:  # before the next reader, which takes long for so many
            raise BadComponent(f"the file has {len(header)} tensors, the most is {MAX_TENSORS}")
        if why := _wrong_length(header, 8 + length, path.stat().st_size):
            raise ValueError(why)
        with safe_open(path, framework="pt"):  # it checks types, shapes and places
            return header, 8 + length
    except BadComponent:
        raise
    except (SafetensorError, OSError, TypeError, ValueError, RecursionError) as error:
        raise BadComponent(f"this is not a readable safetensors file: {error}") from error


def _wrong_length(header: dict[str, Any], start: int, size: int) -> str | None:
    """Return how the file's length differs from what its header says of its tensors."""
    if not isinstance(header, dict):
        return None  # told by the next reader
    places = [each.get("data_offsets") for each in header.values() if isinstance(each, dict)]
    ends = [place[1] for place in places if isinstance(place, list) and len(place) == 2]
    whole = start + max((end for end in ends if isinstance(end, int)), default=0)
    if size < whole:
        return f"it was cut off: it has {size} of the {whole} bytes that its header announces"
    return f"{size - whole} bytes follow its last tensor" if size > whole else None


def metadata_of(header: dict[str, Any], key: str) -> Any:
    """Return the value of the JSON text that the header's metadata have under this key.

    Raises:
        BadComponent: it has too many values, two members of one name, NaN, or half a character.
        KeyError, TypeError, ValueError, RecursionError: there is none, or it is not JSON.
    """
    value = _json_of(header["__metadata__"][key].encode())
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:  # a number in JSON can also be too large for a float
        raise BadComponent(
            f"the file's metadata cannot be written as JSON in UTF-8 again: {error}"
        ) from error
    return value


def _json_of(text: bytes) -> Any:
    """Return the value of JSON text.

    Raises:
        BadComponent: it has too many values, or an object with two members of one name.
        ValueError, RecursionError: this is not JSON.
    """
    # Every value but the first follows one of these. It takes three bytes in the text, and hundreds
    # once it is parsed, so they are counted before.
    count = text.count(b",") + text.count(b"[") + text.count(b"{")
    if count > MAX_VALUES:
        raise BadComponent(
            f"the file's JSON has {count} commas and opening brackets, the most is {MAX_VALUES}"
        )
    return json.loads(text, object_pairs_hook=_distinct)


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):  # readers differ in which one they take
        raise BadComponent("the file's JSON has an object with two members of one name")
    return found
