"""Requests at once: how many of one key a process answers at a time, streams and downloads too."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from app.access.callers import Caller
from app.errors import TooManyRequests

RETRY_SECONDS = 1


class Concurrency:
    """The numbers of open requests, by key; to be used from one event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def one_more(self, caller: Caller) -> AbstractContextManager[None]:
        """Count one request more from now on, until the block of what is returned ends.

        Raises:
            TooManyRequests: `too_many_at_once`, with the `limit`.
        """
        limit = caller.limits.max_concurrent_requests
        if limit is None:
            return nullcontext()
        if self._open[caller.id] >= limit:
            raise TooManyRequests(
                "too_many_at_once",
                f"key {caller.id} has {limit} requests open, which is the most; streams of events "
                "and downloads count until they end: close one, or wait for one to end",
                retry_after=RETRY_SECONDS,
                limit=limit,
            )
        self._open[caller.id] += 1
        return self._counted(caller.id)

    @contextmanager
    def _counted(self, caller_id: str) -> Iterator[None]:
        try:
            yield
        finally:
            self._open[caller_id] -= 1
            if not self._open[caller_id]:
                del self._open[caller_id]
