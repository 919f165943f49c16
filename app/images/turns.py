"""Turns at decoding: the image of the client, and of its request, that has had least comes next.

An image is light until it has proved heavy. Heavy ones run in a few of the places only, so that
light ones always have some. A client that has just come has had nothing, so it overtakes all that
have been decoding for a while; its wait is the rest of one light image.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

from app.errors import Busy
from app.images.budget import Budget

# Images of requests that are not patient; more only of requests that have had nothing yet, whose
# number the threads that ask for decoding bound.
MAX_WAITING = 24
PATIENCE = 30.0  # seconds
RETRY_SECONDS = 10


class _Waiting:
    """An image without a place."""

    def __init__(self, budget: Budget, is_heavy: bool, number: int) -> None:
        self.budget, self.is_heavy, self.number = budget, is_heavy, number
        self.settled, self.has_place = Event(), False

    @property
    def rank(self) -> tuple[float, float, int]:
        return *self.budget.rank, self.number


class Turns:
    """Places for images in decoding, and the queue for them."""

    def __init__(self, places: int, heavy_places: int) -> None:
        self._free, self._free_for_heavy = places, heavy_places
        self._waiting: list[_Waiting] = []
        self._lock, self._number = Lock(), 0

    @contextmanager
    def turn(self, budget: Budget, *, is_heavy: bool) -> Iterator[None]:
        """Hold a place for one image of the request with this budget.

        Raises:
            Busy: `decoding_busy` when no place came free in time, or too many wait and this
                request has had more than the others.
        """
        waiting = self._join(budget, is_heavy)
        if waiting is not None:
            self._wait(waiting)
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._free_for_heavy += is_heavy
                self._admit()

    def _join(self, budget: Budget, is_heavy: bool) -> _Waiting | None:
        """Take a place, or join the queue."""
        with self._lock:
            self._number += 1
            waiting = _Waiting(budget, is_heavy, self._number)
            self._waiting.append(waiting)
            self._admit()
            if waiting.has_place:
                return None
            impatient = [each for each in self._waiting if not each.budget.is_patient]
            last = max(impatient, key=lambda each: each.rank, default=waiting)
            if len(impatient) > MAX_WAITING and last.budget.spent:
                self._waiting.remove(last)
                last.settled.set()
            return waiting

    def _admit(self) -> None:
        """Give the free places to those that have had least."""
        while self._free:
            able = [each for each in self._waiting if self._free_for_heavy or not each.is_heavy]
            if not able:
                return
            first = min(able, key=lambda each: each.rank)
            self._waiting.remove(first)
            self._free -= 1
            self._free_for_heavy -= first.is_heavy
            first.has_place = True
            first.settled.set()

    def _wait(self, waiting: _Waiting) -> None:
        waiting.settled.wait(None if waiting.budget.is_patient else PATIENCE)
        with self._lock:
            if waiting.has_place:
                return
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        raise Busy(
            "decoding_busy",
            "the images of other requests are being decoded, and this request has had its share: "
            "send it again later, with fewer or smaller images",
            retry_after=RETRY_SECONDS,
        )
