"""JSON in the encodings in which clients send it."""

import codecs
import json
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header

# Of these the parameter `charset` may name one. JSON has none by its definition, and is in UTF-8.
CHARSETS = ("iso8859-", "cp125", "cp932", "shift_jis", "euc_", "gb", "big5", "koi8-")


class JsonRequest(Request):
    """A request whose JSON may be in any encoding that `in_utf8` knows."""

    async def json(self) -> Any:
        """Return the value of the body.

        Raises:
            UnicodeError: it is in no encoding that is known.
            JSONDecodeError: it is not JSON.
        """
        if not hasattr(self, "_json"):
            content_type = self.headers.get("content-type", "")
            self._json = json.loads(in_utf8(await self.body(), content_type))
        return self._json


def in_utf8(body: bytes, content_type: str = "") -> bytes:
    """Return JSON in UTF-8 without a byte order mark, from any encoding of Unicode.

    What is in none of them is read in the `charset` of its Content-Type.

    Raises:
        UnicodeError: it is in no encoding that is known.
    """
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
    except UnicodeError:
        charset = _charset_of(content_type)
        if charset is None:
            raise
        text = body.decode(charset)
    return text.encode("utf-8", "surrogatepass")


def _charset_of(content_type: str) -> str | None:
    name = parse_options_header(content_type)[1].get(b"charset", b"").decode("latin-1")
    try:
        charset = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return charset if charset.startswith(CHARSETS) else None
