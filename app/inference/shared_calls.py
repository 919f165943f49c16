"""Calls by key: all who ask for one key at the same time share one call and its outcome."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SharedCalls(Generic[Result]):
    """Calls of different keys wait for each other in nothing."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[Hashable, Future[Result]] = {}

    def run(self, key: Hashable, call: Callable[[], Result]) -> Result:
        """Return the result of the call, or of the same key's call if one is running."""
        with self._lock:
            running = self._running.get(key)
            future = running or self._running.setdefault(key, Future())
        if running is None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            finally:
                with self._lock:
                    del self._running[key]
        return future.result()
