"""The charsets in which clients may send texts.

Python knows more codecs by name: some give bytes, and `punycode` and `idna` take quadratic time.
"""

import codecs

from python_multipart.multipart import parse_options_header

READ = (
    *("utf-8", "ascii", "utf-16", "utf-32", "iso8859-", "cp125", "cp932", "shift_jis"),
    *("euc_", "gb", "big5", "koi8-"),
)


def named_in(content_type: str | bytes) -> str:
    """Return the charset that a Content-Type names, whatever it is; empty if it names none."""
    return parse_options_header(content_type)[1].get(b"charset", b"").decode("latin-1")


def codec_of(name: str) -> str | None:
    """Return Python's name of a charset; None if texts are not read in it."""
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return codec if codec.startswith(READ) else None
