"""Shares: the processor time that each client's images took lately.

    shares = Shares()
    budget = Budget(…, share=shares.of("192.0.2.7"))

Who has had least comes first, so a client that sends one image waits for few of those of a client
that sends many, and for none of its costly ones.
"""

from collections import OrderedDict
from collections.abc import Callable
from math import inf, log2
from threading import Lock
from time import monotonic

HALF_LIFE = 10.0  # seconds, after which half of what a client had is forgotten
COSTLY_SECONDS = 30.0  # after an image that proved heavy, in which others of its client may be too
MAX_CLIENTS = 10_000  # remembered; beyond, those that were seen longest ago are forgotten


class Share:
    """One client's; any number of threads may use it."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._spent, self._at = 0.0, clock()
        self._costly_until = self._at
        self.is_proven = False  # its last image was light

    @property
    def recent(self) -> float:
        """The seconds that the client's images took lately, older ones counted less."""
        with self._lock:
            return self._now()

    @property
    def level(self) -> float:
        """A number that compares shares as `recent` does, the same however late it is asked."""
        with self._lock:
            return log2(self._spent) + self._at / HALF_LIFE if self._spent else -inf

    def spend(self, seconds: float) -> None:
        """Count seconds that an image took."""
        with self._lock:
            self._spent, self._at = self._now() + seconds, self._clock()

    def copy(self) -> "Share":
        """Return another one with as much, and as costly."""
        made = Share(self._clock)
        made.spend(self.recent)
        made._costly_until = self._costly_until
        return made

    def note(self, *, is_heavy: bool) -> None:
        """Note that one of the client's images has just proved heavy or light."""
        self.is_proven = not is_heavy
        if is_heavy:
            self._costly_until = self._clock() + COSTLY_SECONDS

    @property
    def is_costly(self) -> bool:
        """Return whether an image of the client has proved heavy lately."""
        return self._clock() < self._costly_until

    def _now(self) -> float:
        return self._spent * 0.5 ** ((self._clock() - self._at) / HALF_LIFE)


class Shares:
    """The shares of a process's clients, by their names."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._known: OrderedDict[str, Share] = OrderedDict()

    def of(self, client: str) -> Share:
        """Return the client's share."""
        with self._lock:
            share = self._known.get(client)
            if share is None:
                share = self._known[client] = Share(self._clock)
                if len(self._known) > MAX_CLIENTS:
                    self._known.popitem(last=False)
            self._known.move_to_end(client)
            return share
