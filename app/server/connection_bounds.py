"""The bounds of clients' connections: their number, and how long they may move too few bytes."""

from collections import Counter

from app.settings import Settings

MIN_BYTES = 16 * 2**10


class Bounds:
    """The connections of one process, and the most that it takes."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.client_seconds
        share = settings.share
        self._most, self._most_of_one = share.max_connections, share.max_connections_per_address
        self._open = Counter[str]()

    def admit(self, address: str) -> bool:
        """Count a connection from this address; return False if there are too many."""
        if self._open.total() >= self._most or self._open[address] >= self._most_of_one:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection less."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class Span:
    """The time since which a client has moved too few bytes."""

    def __init__(self) -> None:
        self._since, self._bytes = 0.0, -1

    def is_over(self, now: float, moved: int, seconds: float, *, waiting: bool) -> bool:
        """Return whether the service has waited this long for MIN_BYTES."""
        if not waiting:
            self._bytes = -1
        elif self._bytes < 0 or moved - self._bytes >= MIN_BYTES:
            self._since, self._bytes = now, moved
        return self._bytes >= 0 and now - self._since > seconds
