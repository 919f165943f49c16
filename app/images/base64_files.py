"""Files as base64 in JSON, in the ways in which encoders write it."""

import binascii
import re
from base64 import b64decode
from urllib.parse import unquote_to_bytes

from app.errors import Invalid

DATA_URL = re.compile(r"data:([^,]{0,200}),", re.IGNORECASE)
FOR_URLS = str.maketrans("-_", "+/")  # RFC 4648, section 5


def decoded(text: str) -> bytes:
    """Return the file that the text stands for: base64, or a data URL (RFC 2397).

    Line ends and blanks are passed over. The alphabet may be that for URLs, and the signs = at the
    end may be left out.

    Raises:
        Invalid: `bad_base64`.
    """
    if (url := DATA_URL.match(text.lstrip())) is not None:
        rest = text.lstrip()[url.end() :]
        if not url[1].lower().rstrip().endswith(";base64"):
            return unquote_to_bytes(rest)
        text = unquote_to_bytes(rest).decode("latin-1") if "%" in rest else rest
    letters = "".join(text.split()).rstrip("=").translate(FOR_URLS)
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("bad_base64", f"b64 is not base64: {_fault(letters)}") from None


def _fault(letters: str) -> str:
    if letters[:5].lower() == "data:":
        return "it is a data URL without the comma before its data"
    if wrong := re.search(r"[^A-Za-z0-9+/]", letters):
        return f"it has {wrong[0]!r}; encode the image file's bytes"
    return "its length does not fit; perhaps it was cut off"
