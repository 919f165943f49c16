"""Leases whose time passes only while a deletion waits for other processes.

    with leases_by_steps():
        …                       processes start, answer, die; no lease ends for want of a processor

A deletion that waits for a dead process steps to the end of its lease at once; every process that
lives has renewed its own by then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Condition
from unittest.mock import patch

from app.inference.lease import Lease, Rows

STEPS = 4  # of one lease
RENEWAL_SECONDS = 60.0  # of real time, for the thread of a process that lives


class _Time:
    """The clock of all leases."""

    def __init__(self) -> None:
        self.now, self.kept = 0.0, set[_SteppedLease]()

    def step(self, seconds: float) -> None:
        """Let so much time pass; whoever keeps a lease renews it."""
        self.now += seconds
        for lease in tuple(self.kept):
            lease.await_renewal()


class _SteppedLease(Lease):
    """A lease that counts its renewals."""

    def __init__(self, time: _Time, rows: Rows, seconds: float) -> None:
        step = seconds / STEPS
        super().__init__(rows, seconds, clock=lambda: time.now, pause=lambda _: time.step(step))
        self._time, self._renewed, self._renewals = time, Condition(), 0

    def renew(self) -> None:
        try:
            super().renew()
        finally:
            with self._renewed:
                self._renewals += 1
                self._renewed.notify_all()

    def await_renewal(self) -> None:
        """Wait until the lease's thread has ended a renewal."""
        with self._renewed:
            before = self._renewals
            self.renew_soon()
            assert self._renewed.wait_for(lambda: self._renewals > before, RENEWAL_SECONDS)

    @contextmanager
    def kept(self) -> Iterator[None]:
        with super().kept():
            self._time.kept.add(self)
            try:
                yield
            finally:
                self._time.kept.discard(self)


@contextmanager
def leases_by_steps() -> Iterator[None]:
    """Let the processes that start in the block have such leases."""
    with patch("app.parts.Lease", partial(_SteppedLease, _Time())):
        yield
