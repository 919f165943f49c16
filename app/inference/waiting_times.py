"""Waiting times of an engine's callers: work may take long, and a client waits for minutes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

_most: ContextVar[float] = ContextVar("most_seconds", default=inf)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Bound the time that each call of an engine process waits during the block, in this thread."""
    before = _most.set(seconds)
    try:
        yield
    finally:
        _most.reset(before)


def bounded(seconds: float) -> float:
    """Return the seconds that a call waits here which may take so many."""
    return min(seconds, _most.get())
