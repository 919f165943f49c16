"""Token buckets: rates by name, in a table of bounded size, for one process."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import monotonic

MAX_BUCKETS = 10_000


class Buckets:
    """A bucket for each name; the one unused for longest is dropped when there are too many.

    A bucket holds one second's worth, and at least 1. A larger amount is taken from a full bucket,
    which then has to make up for it.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, most: int = MAX_BUCKETS) -> None:
        self._clock, self._most, self._lock = clock, most, Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # level, at a time

    def __len__(self) -> int:
        return len(self._levels)

    def take(
        self, name: str, rate: float, amount: float = 1.0, *, size: float | None = None
    ) -> float:
        """Take an amount; return 0, or else the seconds to wait, with nothing taken."""
        size = max(1.0, rate) if size is None else size
        with self._lock:
            level, at = self._level(name, rate, size)
            missing = min(amount, size) - level
            if missing > 0:
                return missing / rate
            self._set(name, level - amount, at)
        return 0.0

    def charge(self, name: str, rate: float, amount: float) -> None:
        """Take an amount whatever there is: the bucket has to make up for it."""
        with self._lock:
            level, at = self._level(name, rate, max(1.0, rate))
            self._set(name, level - amount, at)

    def wait(self, name: str, rate: float, *, size: float) -> float:
        """Return the seconds until 1 can be taken; take nothing."""
        with self._lock:
            level, _ = self._level(name, rate, size)
        return max(0.0, (1.0 - level) / rate)

    def _set(self, name: str, level: float, at: float) -> None:
        self._levels[name] = (level, at)
        self._levels.move_to_end(name)
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)

    def _level(self, name: str, rate: float, size: float) -> tuple[float, float]:
        now = self._clock()
        level, before = self._levels.get(name, (size, now))
        return min(size, level + (now - before) * rate), now
