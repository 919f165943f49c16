"""JSON in the encodings in which clients send it."""

import json
from collections import Counter
from typing import Any

from fastapi import HTTPException, Request

from app.api.http import charsets

PATCH = "application/json-patch+json"
NO_PATCH = (
    "no route reads a JSON Patch (RFC 6902): send the fields to change, as a merge patch, with "
    "Content-Type: application/merge-patch+json or application/json"
)


class RepeatedName(ValueError):
    """An object of a request's JSON has a name twice; the message says which."""


class JsonRequest(Request):
    """A request whose JSON may be in any encoding that `in_utf8` knows."""

    async def json(self) -> Any:
        """Return the value of the body.

        Raises:
            UnicodeError: it is in no encoding that is known.
            JSONDecodeError: it is not JSON.
            RepeatedName: an object has a name twice.
            HTTPException: it is a JSON Patch, which no route reads.
        """
        if not hasattr(self, "_json"):
            content_type = self.headers.get("content-type", "")
            if content_type.partition(";")[0].strip().lower() == PATCH:
                raise HTTPException(415, NO_PATCH)
            self._json = value_of(in_utf8(await self.body(), content_type))
        return self._json


def value_of(text: str | bytes) -> Any:
    """Return the value of JSON in which no object has a name twice.

    Raises:
        JSONDecodeError: it is not JSON.
        RepeatedName: readers differ in which of the values counts.
    """
    return json.loads(text, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise RepeatedName(f"the JSON has the name {name[:80]!r} twice in one object: give it once")
    return found


def in_utf8(body: bytes, content_type: str = "") -> bytes:
    """Return JSON in UTF-8 without a byte order mark, from any encoding of Unicode.

    What is in none of them is read in the charset of its Content-Type. JSON has none by its
    definition, but clients name one.

    Raises:
        UnicodeError: it is in no encoding that is known.
    """
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
    except UnicodeError:
        codec = charsets.codec_of(charsets.named_in(content_type))
        if codec is None:
            raise
        text = body.decode(codec)
    return text.encode("utf-8", "surrogatepass")
