"""Idempotency keys made from content: the same command gives the same resource, however often.

A process that was killed while it uploaded or waited begins again with the same key. After what a
key created was deleted, or has failed, the next key follows from that, so it is as lasting.
"""

import hashlib
from typing import Any
from uuid import uuid4

from tangent_composer.canonical_json import canonical

MAX_LINKS = 16  # of keys in a chain; after as many deletions of the same content they are random


def key_of(path: str, content: Any) -> str:
    """Return the key of a request to this path with this content, JSON values."""
    return f"tc-{hashlib.sha256(canonical([path, content])).hexdigest()}"


def next_key(key: str, ended: str) -> str:
    """Return the key after the one whose resource has ended, by the id that tells the end."""
    return f"tc-{hashlib.sha256(f'{key} {ended}'.encode()).hexdigest()}"


def random_key() -> str:
    """Return a key for one request and its repetitions."""
    return f"tc-{uuid4().hex}"
