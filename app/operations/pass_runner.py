"""The runners of passes: threads of an API process that compute what is queued, one pass each.

    with running(parts): …        the process serves; at the end, what is computed is handed back

One of them takes short passes only, so that a small evaluation does not wait behind a large one.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from types import MappingProxyType

from app.database.outages import problem_of
from app.database.sessions import transaction
from app.errors import Problem
from app.files.component_files import DamagedFile
from app.operations import batch_prediction, evaluation
from app.operations.pass_attempts import TRANSIENT, Attempt, Lost, Stopping
from app.operations.pass_pauses import Pauses
from app.parts import Parts
from app.passes import batch_predictions, queue
from app.passes.queue import Held, Waiting
from app.store import damage
from tangent.errors import TangentError

SHORT_IMAGES = 2_000  # in a short pass
POLL_SECONDS = 1.0  # between two looks for passes that other processes have queued
END_SECONDS = 8.0  # for a chunk at the end: with the requests' time less than the process has
DIED = (
    "job_died",
    "the process that computed this ended without a word, several times: mostly for want of memory",
)
# What a pass that is queued again may outlast.
PASSING = TRANSIENT | {
    *("database_busy", "database_unavailable", "outcome_unknown", "storage_unavailable"),
    *("out_of_resources", "out_of_memory", "service_stopping", "selection_changing"),
}
INTERNAL = ("internal_error", "an error that is not expected: the log of the service has it")

COMPUTE: Mapping[str, Callable[[Parts, Attempt], None]] = MappingProxyType(
    {"evaluation": evaluation.compute, "batch_prediction": batch_prediction.compute}
)

log = logging.getLogger(__name__)


class Runner:
    """One thread that claims the oldest pass that it may, computes it, and looks for the next."""

    def __init__(
        self,
        parts: Parts,
        name: str,
        most_images: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Passes of more than `most_images` are left to others."""
        self._parts, self._most, self._clock = parts, most_images, clock
        self.holder = f"{parts.lease.id}/{name}"
        self.stopping, self._heard = parts.passes.ending, 0
        self._pauses = Pauses(clock)
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}  # id -> attempt, beats; since

    def run(self) -> None:
        """Work until `stopping` is set."""
        while not self.stopping.is_set():
            try:
                held = self.claim()
            except Exception as error:  # an outage: whatever it is, the next look may succeed
                log.warning("no pass could be claimed: %s", error)
                held = None
            if held is not None:
                self._attempt(held)
            else:
                self._heard = self._parts.passes.wait(self._heard, POLL_SECONDS)

    def claim(self) -> Held | None:
        """Begin an attempt at the oldest pass that nobody computes; None if there is none."""
        with transaction(self._parts.health) as session:  # which takes no request's connection
            waiting = queue.waiting(session)
        free = [each for each in self._noted(waiting) if self._may(each)]
        for seen in free:
            with transaction(self._parts.sessions) as session:
                held = queue.claim(session, seen, self.holder)
            if held is None:
                continue
            if seen.status == "queued" or not self._fail_if_deadly(held):
                return held
        return None

    def _noted(self, waiting: list[Waiting]) -> list[Waiting]:
        """Note when each was first seen with its present beats; return those that are free."""
        now, dead = self._clock(), self._parts.settings.worker_dead_seconds
        before, self._seen = self._seen, {}
        free = []
        for each in waiting:
            state = each.attempt, each.beats
            known = before.get(each.id)
            since = known[1] if known is not None and known[0] == state else now
            self._seen[each.id] = state, since
            is_silent = each.is_orphan or each.holder == self.holder or now - since > dead
            if each.status == "queued" or is_silent:
                free.append(each)
        self._pauses.keep(self._seen)
        return free

    def _may(self, each: Waiting) -> bool:
        is_small = self._most is None or each.total <= self._most
        return is_small and not self._pauses.holds(each.id)

    def _fail_if_deadly(self, held: Held) -> bool:
        """Fail a pass that has ended too many processes; return whether it has."""
        with transaction(self._parts.reading) as session:
            lost = queue.lost(session, held)
        if lost < self._parts.settings.max_attempts:
            return False
        self._fail(held, *DIED)
        return True

    def _attempt(self, held: Held) -> None:
        attempt = Attempt(self._parts, held, self.stopping)
        try:
            with attempt.beating():
                COMPUTE[held.kind](self._parts, attempt)
        except Lost:
            log.info("%s is over, or another process has it", held.id)
        except Stopping:
            self._hand_back(held)
        except Exception as error:
            self._settle(held, error)

    def _settle(self, held: Held, error: Exception) -> None:
        """End the pass by this error, or queue it again."""
        try:
            code, detail = _told(error)
            if self.stopping.is_set() or (code in PASSING and self._pauses.begin(held.id)):
                log.warning("%s is queued again: %s", held.id, detail)
                self._hand_back(held)
                return
            if isinstance(error, DamagedFile):
                damage.note(self._parts.sessions, self._parts.blobs, error)
            has_failed = self._fail(held, code, detail)
            if code == INTERNAL[0] and has_failed:  # else its files were deleted, and it is over
                log.error("%s has failed", held.id, exc_info=error)
        except Exception as second:  # the row stays as it is: this runner claims it again
            log.warning("the end of %s could not be noted: %s", held.id, second)
            self._pauses.begin(held.id)

    def _fail(self, held: Held, code: str, detail: str) -> bool:
        with transaction(self._parts.sessions) as session:
            if held.kind == "batch_prediction":
                return batch_predictions.fail(session, self._parts.blobs, held, code, detail)
            return queue.fail(session, held, code, detail)

    def _hand_back(self, held: Held) -> None:
        try:
            with transaction(self._parts.sessions) as session:
                queue.hand_back(session, held)
        except Exception as error:  # another process takes it over in a while
            log.warning("%s could not be handed back: %s", held.id, error)


def _told(error: Exception) -> tuple[str, str]:
    """Return the code of an error, and what a client is told."""
    found = error if isinstance(error, Problem) else problem_of(error)
    if found is not None:
        return found.code, found.detail
    return (error.code, str(error)) if isinstance(error, TangentError) else INTERNAL


@contextmanager
def running(parts: Parts) -> Iterator[None]:
    """Compute what is queued during the block, also what ended processes have left."""
    runners = [Runner(parts, "any"), Runner(parts, "short", SHORT_IMAGES)]
    threads = [
        Thread(target=each.run, name=f"passes {each.holder}", daemon=True) for each in runners
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        parts.passes.end()  # if no signal has
        end = time.monotonic() + END_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
