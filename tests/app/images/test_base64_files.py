"""Files in base64 are read however encoders write it."""

import re
from base64 import b64encode, encodebytes, urlsafe_b64encode
from random import Random
from urllib.parse import quote, quote_from_bytes

import pytest

from app.errors import Invalid
from app.images.base64_files import decoded

FILE = b"\xfb\xff\xbf" + Random(0).randbytes(200)  # has both + and /
B64 = b64encode(FILE).decode()


@pytest.mark.parametrize(
    "text",
    [
        B64,
        B64.rstrip("="),
        urlsafe_b64encode(FILE).decode(),
        urlsafe_b64encode(FILE).decode().rstrip("="),
        encodebytes(FILE).decode(),
        encodebytes(FILE).decode().replace("\n", "\r\n"),
        f"data:image/png;base64,{B64}",
        f"  DATA:image/svg+xml;charset=utf-8;BASE64,{B64}\n",
        f"data:;base64,{quote(B64, safe='')}",
        f"data:application/octet-stream,{quote_from_bytes(FILE)}",
    ],
)
def test_every_spelling_is_the_same_file(text: str) -> None:
    assert decoded(text) == FILE


@pytest.mark.parametrize("length", range(5))
def test_signs_at_the_end_may_be_left_out_at_every_length(length: int) -> None:
    assert decoded(b64encode(FILE[:length]).decode().rstrip("=")) == FILE[:length]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A", "cut off"),
        ("AA=A", "has '='"),
        ("AAA%", "has '%'"),
        ("AAAé", "has 'é'"),
        ("data:image/png;base64", "without the comma"),
        ("https://example.org/cat.png", "has ':'"),
    ],
)
def test_what_is_no_base64_is_told_by_what_was_seen(text: str, told: str) -> None:
    with pytest.raises(Invalid, match=re.escape(told)):
        decoded(text)
