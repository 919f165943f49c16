"""A memory of what the database says, each value for a moment, in a table of bounded size."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

MAX_KEPT = 10_000  # names, of something or of nothing

Value = TypeVar("Value")


class ShortMemory(Generic[Value]):
    """Values by name; the one kept for longest is dropped when there are too many."""

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = MAX_KEPT) -> None:
        self._clock, self._most, self._lock = clock, most, Lock()
        self._kept: OrderedDict[str, tuple[Value, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str) -> Value | None:
        """Return the value with this name, if its time is not over."""
        with self._lock:
            value, until = self._kept.get(name, (None, 0.0))
        return value if self._clock() < until else None

    def end_after(self, seconds: float) -> float:
        """Return the time at which a value's time is over that is read from now on."""
        return self._clock() + seconds

    def keep(self, name: str, value: Value, until: float) -> None:
        """Keep the value until this time."""
        with self._lock:
            self._kept[name] = (value, until)
            self._kept.move_to_end(name)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def forget(self) -> None:
        """Keep nothing of all this."""
        with self._lock:
            self._kept.clear()
