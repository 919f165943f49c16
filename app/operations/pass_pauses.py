"""Pauses of passes that failed here for a reason that may pass, before this runner's next try.

They are kept in memory: each runner of each process tries for itself, and a start begins anew.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

MAX_TRIES = 20  # by one runner: about a quarter of an hour
SECONDS = (1.0, 60.0)  # the first pause, and the longest


class Pause(NamedTuple):
    """A number of failures, and the time until which the pass is left alone."""

    tries: int
    until: float


class Pauses:
    """The pauses of one runner."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._of = clock, dict[str, Pause]()

    def begin(self, id_: str) -> bool:
        """Leave the pass alone for a while; False if it has been tried often enough."""
        known = self._of.get(id_)
        tries = known.tries + 1 if known is not None else 1
        seconds = min(SECONDS[0] * 2.0 ** min(tries - 1, 16), SECONDS[1])
        self._of[id_] = Pause(tries, self._clock() + seconds)
        return tries < MAX_TRIES

    def holds(self, id_: str) -> bool:
        """Return whether the pass is to be left alone now."""
        known = self._of.get(id_)
        return known is not None and self._clock() < known.until

    def keep(self, ids: Collection[str]) -> None:
        """Forget all passes but these, as they have ended."""
        self._of = {id_: pause for id_, pause in self._of.items() if id_ in ids}
