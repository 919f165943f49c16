"""Texts of others on a terminal: nothing in a name, a path or an answer steers it.

Replaced are control characters, halves of characters, and what ends a line or turns the direction
of the text around it. Joiners stay: emoji, Persian and Hindi need them.
"""

import json
import os
import re
import sys
from typing import Any

STEERING = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"  # Cc, Zl, Zp, bidi, Cs
)
IN_JSON = re.compile(STEERING.pattern.replace("\\x00-\\x1f", ""))  # JSON itself escapes these
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: object) -> str:
    """Return a text as it may stand within a line."""
    return STEERING.sub(REPLACEMENT, str(text))


def one_line(text: object) -> str:
    """Return a text on one line, with a space for white space of any kind."""
    return clean(" ".join(str(text).split()))


def say(text: object, *, on_error: bool = False) -> None:
    """Print a text as one clean line, on standard error if it is not the answer."""
    print(clean(text), file=sys.stderr if on_error else sys.stdout)


def is_output_lost() -> bool:
    """Return whether what was printed cannot be written; if so, Python's end has nothing to try."""
    try:
        print(end="", flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return True
    return False


def as_json(value: Any, indent: int | None = None) -> str:
    """Return JSON of this value, in which all that steers a terminal is escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
