"""An attempt at computing a pass: it beats while it goes on, and notices when it is over."""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from app.database.sessions import transaction
from app.errors import Problem
from app.inference.models import Company, Model, Passed
from app.operations.calibration import Judge, calibrate, overtaken
from app.parts import Parts
from app.passes import queue
from app.passes.queue import Held

LOOK_SECONDS = 0.1  # between two looks whether the attempt is over, while the engine computes
JOIN_SECONDS = 10.0
# What passes by itself; anything else is told to the client as the error of the pass.
TRANSIENT = frozenset(
    ("engine_late", "engine_restarting", "lease_expired", "queue_full", "decoding_busy")
)
MAX_TRIES = 60  # at one chunk
PAUSE_SECONDS = (0.2, 5.0)  # between two tries: the first, and the longest

log = logging.getLogger(__name__)


class Lost(Exception):
    """The attempt is over: cancelled, invalidated, deleted, or taken over by another process."""


class Stopping(Exception):
    """The process ends: the pass goes back to the queue."""


class Attempt:
    """One attempt of this process, held by a row; `done` images have been computed."""

    def __init__(self, parts: Parts, held: Held, stopping: Event) -> None:
        self.parts, self.held, self.done = parts, held, 0
        self._stopping, self._lost, self._over = stopping, Event(), Event()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Give signs of life during the block, by a thread of its own."""
        thread = Thread(target=self._beat, name=f"beat {self.held.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(JOIN_SECONDS)

    def _beat(self) -> None:
        while not self._over.wait(self.parts.settings.worker_heartbeat_seconds):
            try:
                with transaction(self.parts.sessions) as session:
                    goes_on = queue.beat(session, self.held, self.done)
            except Exception as error:  # another process may take over, and the next beat tells
                log.warning("%s gave no sign of life: %s", self.held.id, error)
                continue
            if not goes_on:
                self._lost.set()
                return

    def check(self) -> None:
        """Return if the attempt goes on, as far as this process knows.

        Raises:
            Lost, Stopping: it does not.
        """
        if self._lost.is_set():
            raise Lost
        if self._stopping.is_set():
            raise Stopping

    def check_row(self) -> None:
        """Return if the attempt goes on, by its row as it is now.

        Raises:
            Lost, Stopping: it does not.
        """
        self.check()
        with transaction(self.parts.reading) as session:
            if not queue.holds(session, self.held):
                raise Lost

    def passed(self, model: Model, pixels: list[Any], company: Company, judge: Judge) -> Passed:
        """Pass a chunk through the model, beside what else the engine has to do.

        What passes by itself is waited for: another engine process, a full queue. The judge's
        calibration comes with the answers.

        Raises:
            Lost, Stopping: as `check_row`.
            Problem: as the engine's.
        """
        pause = PAUSE_SECONDS[0]
        for left in reversed(range(MAX_TRIES)):
            self.check_row()
            try:
                self.parts.engine.respect(self.parts.lease.held())
                begin = self.parts.engine.begin
                passed = self._awaited(begin(model, pixels, company=company, judged_as=judge.model))
                if passed.calibration is not None:
                    return passed
                calibrate(self.parts, judge)
                continue
            except Problem as problem:
                if problem.code not in TRANSIENT or not left:
                    raise
                log.info("%s waits, as %s", self.held.id, problem.detail)
            self._stopping.wait(pause)
            pause = min(2 * pause, PAUSE_SECONDS[1])
        raise overtaken()

    def _awaited(self, passing: "Future[Passed]") -> Passed:
        while True:
            try:
                return passing.result(LOOK_SECONDS)
            except TimeoutError:
                if passing.done():  # just now, or by a time-out of its own
                    return passing.result()
            try:
                self.check()
            except BaseException:
                passing.cancel()  # what still waits is not computed
                raise
