"""Canonical JSON: equal values have equal bytes, so that the bytes can be hashed and signed."""

import json
from typing import Any


def canonical(value: Any) -> bytes:
    """Encode a JSON value in its only form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()
