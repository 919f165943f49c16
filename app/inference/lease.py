"""The lease: the right to answer as of an epoch, which ends before a deletion may answer.

The epoch is the number of the last receipt. After a DELETE has answered, no process may send an
answer that was made before it: not even one that was stopped meanwhile and goes on later.

The rules
    1. A process registers a row and commits it. Only then does it look for the epoch.
    2. To renew, it notes the time t0 on its own clock, and then reads, at one moment, the epoch and
       its own row. If the row is gone, it begins again at 1.
    3. If the row does not have this epoch yet, it drops its lease and writes the epoch into its
       row. If the row is gone by now, it begins again at 1.
    4. It then holds the lease of this epoch until t0 + L.
    5. An answer as of an epoch is handed to the connection only while the lease of that very epoch
       is held, by a look at the clock that comes last.
    6. A deletion whose receipt has number e drops its own process's lease before its commit. After
       its commit it reads the rows of the other processes, again and again, until each has an epoch
       of at least e, or the row's own L and a margin have passed on the deletion's clock since the
       commit. Then it removes the rows that still have an older epoch, and answers.

Why that is enough
    Let the deletion of number e have answered. Assume that process P hands over an answer as of
    k < e afterwards. By 5, P then holds a lease of k, which began at its t0, before its reading.
    The reading saw epoch k, so it came before the commit of e, and so did t0.
    - P's row was there when the deletion read the rows. If it showed an epoch of at least e, P had
      dropped the lease of k before it wrote that (3), and cannot have got another one of k, as
      readings from then on see e. If it did not, the deletion has waited for L and the margin
      after its commit, so after t0: the lease has ended, unless the rates of the two clocks differ
      by more than the margin.
    - P's row was not there. P had it when it looked (2), so it was removed before the deletion read
      the rows: by P itself, which then answers nothing any more; or by the deletion of some e'
      after its wait (6), when the row's epoch was older than e'. If k < e', the first case shows
      that the lease of k had ended by then. If k >= e', P's row had an epoch of at least k when it
      took the lease of k (2, 3), and what it shows does not go back while P holds a lease, so the
      row was not removed.
    - P registered after the deletion had read the rows. Then it looked after the commit of e (1),
      and did not see k.
    So there is no such answer. The clock counts the time in which the machine sleeps; a stopped
    process finds that its lease has ended. Nothing compares the clocks of two machines.

The handing over is the system call that takes the bytes. Between the look at the clock and that
call lie some microseconds in this process; what the system has taken is on its way.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from threading import Condition, Event, RLock, Thread
from typing import Protocol

from app.database.ids import new_id
from app.errors import NotReady
from app.inference.answering_processes import Look, Process

log = logging.getLogger(__name__)

MARGIN = 0.05  # by which the rates of two machines' clocks may differ
RENEWALS = 4  # in the time of one lease
POLL_SECONDS = 0.02  # between two looks for what other processes have confirmed
MAX_REGISTRATIONS = 3  # in one renewal: a deletion may remove a row that is late
CLOSING_SECONDS = 10.0  # for a renewal under way

# Both count the time in which the machine sleeps: the first on Linux, the second elsewhere.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Rows(Protocol):
    """The processes' rows, see app.inference.answering_processes."""

    def register(self, process_id: str, lease_seconds: float) -> None: ...
    def look(self, process_id: str) -> Look | None: ...
    def confirm(self, process_id: str, epoch: int) -> bool: ...
    def others(self, process_id: str) -> list[Process]: ...
    def remove(self, process_id: str, *, before: int | None = None) -> None: ...


def boot_clock() -> float:
    """Return the seconds since some moment, those in which the machine slept included."""
    return time.clock_gettime(CLOCK)


class Lease:
    """One process's lease; its rows tell the deletions of other processes about it."""

    def __init__(
        self,
        rows: Rows,
        seconds: float,
        *,
        clock: Callable[[], float] = boot_clock,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.id, self.seconds = new_id("proc"), seconds
        self._rows, self._clock, self._pause = rows, clock, pause
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._epoch: int | None = None  # None: no lease is held
        self._end = 0.0  # of the lease
        self._suspended = 0  # deletions of this process that are being committed
        self._turn = 0  # grows with every suspension: what was looked up before is too old
        self._fault: Exception | None = None  # of the last renewal
        self._soon, self._closed = Event(), False

    def covers(self, epoch: int) -> bool:
        """Return whether an answer as of this epoch may be handed over now."""
        with self._lock:
            return self._epoch == epoch and self._clock() < self._end

    @contextmanager
    def handing_over(self, epoch: int) -> Iterator[bool]:
        """Yield whether an answer as of this epoch may be handed over in the block.

        The lease is not dropped meanwhile, so the block must not wait for anything.
        """
        with self._lock:
            yield self.covers(epoch)

    @property
    def epoch(self) -> int | None:
        """The epoch as of which to answer; None if no lease is held at this moment."""
        with self._lock:
            return self._epoch if self._is_held() else None

    def held(self) -> int:
        """Return the epoch as of which to answer; wait for a renewal that is under way.

        Raises:
            NotReady: `lease_expired`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_held() or self._fault, self.seconds)
            if self._epoch is None or not self._is_held():
                raise self._expired()
            return self._epoch

    def _is_held(self) -> bool:
        return self._epoch is not None and self._clock() < self._end

    def _expired(self) -> NotReady:
        return NotReady(
            "lease_expired",
            f"for {self.seconds:g} s this process has not been able to ask the database for "
            "deletions, so what it would answer with may have been deleted: try again; "
            "GET /readyz tells when the database answers again",
            retry_after=max(1, ceil(self.seconds / RENEWALS)),
        )

    def renew(self) -> None:
        """Renew the lease, as of the epoch that the database has now; register if need be."""
        for _ in range(MAX_REGISTRATIONS):
            turn, start = self._turn, self._clock()
            seen = self._rows.look(self.id)
            if seen is None:
                self._drop()
                self._rows.register(self.id, self.seconds)
                continue
            if seen.confirmed != seen.epoch:
                self._drop()
                if not self._rows.confirm(self.id, seen.epoch):
                    continue
            self._hold(turn, seen.epoch, start + self.seconds)
            return

    def _hold(self, turn: int, epoch: int, end: float) -> None:
        with self._changed:
            if turn == self._turn and not self._suspended and not self._closed:
                self._epoch, self._end = epoch, end
                self._changed.notify_all()

    def _drop(self) -> None:
        with self._changed:
            self._epoch = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Hold no lease during the block, in which this process commits a deletion."""
        with self._changed:
            self._suspended += 1
            self._turn += 1
            self._epoch = None
        try:
            yield
        finally:
            with self._changed:
                self._suspended -= 1
                self._turn += 1
            self.renew_soon()

    def renew_soon(self) -> None:
        """Have the lease renewed now rather than at its next turn: the epoch may have moved."""
        self._soon.set()

    def await_others(self, epoch: int) -> list[Process]:
        """Wait until no other process answers as of an earlier epoch; the caller has committed it.

        Return the processes that did not confirm this within their lease: their rows are removed.
        """
        committed = self._clock()
        while True:
            others = self._rows.others(self.id)
            late = [each for each in others if each.epoch is None or each.epoch < epoch]
            waited = self._clock() - committed
            if all(waited > each.lease_seconds * (1 + MARGIN) for each in late):
                break
            self._pause(POLL_SECONDS)
        for each in late:
            log.warning(
                "process %s has not confirmed deletion %d within its lease", each.name, epoch
            )
            self._remove(each.id, before=epoch)
        return late

    def _remove(self, process_id: str, *, before: int | None = None) -> None:
        try:
            self._rows.remove(process_id, before=before)
        except Exception as error:  # the next deletion waits for the process, and tries again
            log.warning("the row of a process could not be removed: %s", error)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease during the block, by a thread of its own; remove the row afterwards."""
        self.renew()
        thread = Thread(target=self._keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._closed, self._epoch = True, None
                self._changed.notify_all()
            self._soon.set()
            thread.join(CLOSING_SECONDS)
            self._remove(self.id)

    def _keep(self) -> None:
        while not self._closed:
            try:
                self.renew()
                fault = None
            except Exception as error:  # whatever it is, the next renewal may succeed
                if self._fault is None:  # once for each outage
                    log.warning("the lease could not be renewed: %s", error)
                fault = error
            with self._changed:
                self._fault = fault
                self._changed.notify_all()
            self._soon.wait(self.seconds / RENEWALS)
            self._soon.clear()
