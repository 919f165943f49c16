"""The last few opened spaces: each is opened once, and nobody waits for another's opening."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from app.inference.models import SpaceKey
from app.inference.shared_calls import SharedCalls

MAX_OPEN = 4  # opened spaces kept in memory

Opened = TypeVar("Opened")


class SpaceCache(Generic[Opened]):
    """Opened spaces by their keys, for any number of threads."""

    def __init__(self, open_: Callable[[SpaceKey], Opened]) -> None:
        """`open_` opens a space."""
        self._open = open_
        self._spaces: OrderedDict[SpaceKey, Opened] = OrderedDict()
        self._lock, self._openings = Lock(), SharedCalls[Opened]()

    def open(self, key: SpaceKey) -> Opened:
        """Return the opened space, from memory if it is one of the last few."""
        space = self.held(key)
        if space is not None:
            return space
        return self._openings.run(key, lambda: self._opened(key))

    def held(self, key: SpaceKey) -> Opened | None:
        """Return the space if it is in memory; open nothing."""
        with self._lock:
            space = self._spaces.get(key)
            if space is not None:
                self._spaces.move_to_end(key)
            return space

    def drop(self, key: SpaceKey) -> None:
        """Forget a space, which is then opened again when it is next wanted."""
        with self._lock:
            self._spaces.pop(key, None)

    def close(self) -> None:
        """Forget all spaces."""
        with self._lock:
            self._spaces.clear()

    def _opened(self, key: SpaceKey) -> Opened:
        space = self.held(key)  # opened by another request in the meantime
        if space is None:
            space = self._open(key)
            with self._lock:
                self._spaces[key] = space
                if len(self._spaces) > MAX_OPEN:
                    self._spaces.popitem(last=False)
        return space
