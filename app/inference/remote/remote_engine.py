"""An engine in another process, with the methods of `Engine`."""

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import numpy as np

from app.errors import NotReady
from app.inference.models import (
    Attributed,
    Company,
    Copies,
    Effects,
    Logits,
    Model,
    OpenedSpace,
    Passed,
    Pixels,
    Share,
    Source,
    SpaceKey,
    Written,
)
from app.inference.remote.connection import Connection, lost
from app.inference.remote.engine_process import NO_ENGINE, EngineProcess
from app.inference.remote.remote_calculations import RemoteCalculations
from app.inference.remote.wire import error_of
from app.inference.waiting_times import bounded
from app.settings import Settings

ANSWER_SECONDS = 120.0  # for an answer, with its waiting
WORK_SECONDS = 900.0  # for any other call, unless its caller waits less
FORGET_SECONDS = 5.0
METRICS_SECONDS = 1.0
FIRST_SECONDS = 60.0  # for the first connection, to a process that can answer
RECONNECT_SECONDS = 0.05  # between two tries to connect
CLOSING_SECONDS = 5.0

log = logging.getLogger(__name__)


class RemoteEngine(RemoteCalculations):
    """Asks an engine process on behalf of any number of threads."""

    def __init__(self, settings: Settings, address: str | None = None) -> None:
        """Wait until the engine at the address answers; without one, start an engine for this.

        Raises:
            TangentError: the engine cannot compute on the device of the settings.
            EngineFault: its process did not start.
        """
        self._process = EngineProcess(settings) if address is None else None
        self.address = self._process.address if self._process else str(address)
        self._changed = Condition()
        self._connection: Connection | None = None  # one that answers
        self.device_name = ""
        self.pid: int | None = None  # of the process that answers now, if any does
        self._is_closed = False
        self._respected: int | None = None  # the last epoch that was told
        self._keeper = Thread(target=self._keep, name="engine-calls", daemon=True)
        self._keeper.start()
        with self._changed:
            has_answered = self._changed.wait_for(lambda: self._connection, FIRST_SECONDS)
        if not has_answered:
            self.close()
            raise error_of(NO_ENGINE)

    def _keep(self) -> None:
        """Connect, and connect again whenever the process has ended."""
        while not self._is_closed:
            connection = Connection(self.address)
            about = connection.call("about", (), {})
            about.add_done_callback(partial(self._note_answer, connection))
            try:
                connection.listen()
            except Exception:  # without this thread, nobody would connect again
                log.exception("the connection to the engine broke, and is made again")
            with self._changed:
                self._connection = self.pid = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._is_closed, RECONNECT_SECONDS)

    def _note_answer(self, connection: Connection, about: "Future[dict[str, Any]]") -> None:
        """Note that the process answers, and what it says of itself."""
        if about.exception() is not None:
            return
        with self._changed:
            if self._is_closed:
                connection.end()
                return
            self.device_name, self.pid = about.result()["device"], about.result()["pid"]
            self._connection = connection
            self._changed.notify_all()

    def _call(self, name: str, *given: Any, **named: Any) -> "Future[Any]":
        connection = self._connection
        if connection is None:
            raise lost()
        return connection.call(name, given, named)

    def _ask(self, name: str, *given: Any, within: float = WORK_SECONDS, **named: Any) -> Any:
        answer, within = self._call(name, *given, **named), bounded(within)
        try:
            return answer.result(within)
        except Late:
            if not answer.cancel():
                return answer.result()  # or the call's own error of this kind
            raise NotReady(
                "engine_late",
                f"the engine has not answered within {within:g} s: try again later",
                retry_after=5,
            ) from None

    def open(self, key: SpaceKey, *, again: bool = False) -> OpenedSpace:
        """As `Engine.open`."""
        return self._ask("open", key, again=again)

    def probe(self, key: SpaceKey) -> OpenedSpace:
        """As `Engine.probe`."""
        return self._ask("probe", key)

    def environment(self) -> str:
        """As `Engine.environment`."""
        return self._ask("environment")

    def metrics_text(self) -> str:
        """As `Engine.metrics_text`; nothing while the process does not answer."""
        try:
            return self._ask("metrics_text", within=METRICS_SECONDS)
        except NotReady:
            return ""

    def compose(self, model: Model) -> tuple[str, ...]:
        """As `Engine.compose`."""
        return self._ask("compose", model)

    def run(
        self,
        model: Model,
        pixels: Pixels,
        *,
        company: Company = "mixed",
        judged_as: Model | None = None,
    ) -> Passed:
        """As `Engine.run`."""
        how = {"company": company, "judged_as": judged_as}
        return self._ask("run", model, list(pixels), within=ANSWER_SECONDS, **how)

    def begin(
        self,
        model: Model,
        pixels: Pixels,
        *,
        company: Company = "mixed",
        judged_as: Model | None = None,
    ) -> "Future[Passed]":
        """As `Engine.begin`."""
        return self._call("run", model, list(pixels), company=company, judged_as=judged_as)

    def begins_at_once(self, _model: Model) -> bool:
        """As `Engine.begins_at_once`; here `begin` never takes time, as it only sends."""
        return True

    def readouts(self, key: SpaceKey, pixels: Pixels) -> np.ndarray:
        """As `Engine.readouts`."""
        return self._ask("readouts", key, list(pixels))

    def calibrate(self, model: Model, readouts: np.ndarray, copies: Copies) -> None:
        """As `Engine.calibrate`."""
        self._ask("calibrate", model, readouts, [list(each) for each in copies])

    def calibrate_again(self, model: Model) -> bool:
        """As `Engine.calibrate_again`."""
        return self._ask("calibrate_again", model)

    def named_temperature(self, model: Model, name: str) -> tuple[float | None, int]:
        """As `Engine.named_temperature`."""
        found: tuple[float | None, int] = self._ask("named_temperature", model, name)
        return found

    def fit_temperature(
        self, model: Model, name: str, logits: np.ndarray, truth: Sequence[int], since: int
    ) -> float:
        """As `Engine.fit_temperature`."""
        return float(self._ask("fit_temperature", model, name, logits, list(truth), since))

    def attribution(self, model: Model, pixels: Pixels) -> Attributed:
        """As `Engine.attribution`."""
        return self._ask("attribution", model, list(pixels))

    def effects(
        self, key: SpaceKey, sources: Sequence[Source], pixels: Pixels, labels: tuple[str, ...]
    ) -> Effects:
        """As `Engine.effects`."""
        return self._ask("effects", key, list(sources), list(pixels), labels)

    def change(
        self,
        key: SpaceKey,
        source: Source,
        path: Path,
        *,
        removed: Share | None = None,
        added: Share | None = None,
        renamed: Mapping[str, str] | None = None,
    ) -> Written:
        """As `Engine.change`."""
        names = dict(renamed or {})
        return self._ask("change", key, source, path, removed=removed, added=added, renamed=names)

    def measure(
        self,
        key: SpaceKey,
        pixels: Pixels,
        labels: Sequence[str],
        *,
        views: int,
        before: Share | None = None,
    ) -> Share:
        """As `Engine.measure`."""
        return self._ask("measure", key, list(pixels), list(labels), views=views, before=before)

    def scores_without(self, model: Model, features: np.ndarray, copies: Copies) -> Logits:
        """As `Engine.scores_without`."""
        return self._ask("scores_without", model, features, [list(each) for each in copies])

    def accept(self, key: SpaceKey, received: Path, path: Path) -> Written:
        """As `Engine.accept`."""
        return self._ask("accept", key, received, path)

    def write_card(self, key: SpaceKey, name: str, path: Path) -> str:
        """As `Engine.write_card`."""
        return self._ask("write_card", key, name, path)

    def answer_hash(self, model: Model, *, from_files: bool = False) -> dict[str, Any]:
        """As `Engine.answer_hash`."""
        return self._ask("answer_hash", model, from_files=from_files)

    def hash_environment(self, key: SpaceKey) -> dict[str, Any]:
        """As `Engine.hash_environment`."""
        return self._ask("hash_environment", key)

    def forget(self, shas: Sequence[str]) -> None:
        """As `Engine.forget`; a process that does not answer is ended, so that it forgets too."""
        self._have_forgotten("forget", shas)

    def forget_what_came_back(self, shas: Sequence[str]) -> None:
        """As `Engine.forget_what_came_back`; a process that does not answer is ended."""
        self._have_forgotten("forget_what_came_back", shas)

    def _have_forgotten(self, name: str, shas: Sequence[str]) -> None:
        pid = self.pid
        try:
            self._ask(name, list(shas), within=FORGET_SECONDS)
        except NotReady:
            if pid is not None:
                self._end(pid)

    def _end(self, pid: int) -> None:
        """End the process, unless it has ended; return when it has."""
        with self._changed:
            if self.pid == pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._changed.wait_for(lambda: self.pid != pid)

    def respects(self, epoch: int) -> bool:
        """As `Engine.respects`."""
        return epoch == self._respected

    def respect(self, epoch: int) -> None:
        """As `Engine.respect`; asks nothing if this epoch is the last one that was told."""
        if not self.respects(epoch):
            self._ask("respect", epoch, within=ANSWER_SECONDS)
            self._respected = epoch

    def canary(self, key: SpaceKey) -> None:
        """As `Engine.canary`."""
        self._ask("canary", key)

    def close(self) -> None:
        """End the connection, and the process that was started for it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            connection = self._connection
        if self._process is not None:
            self._process.close()
        if connection is not None:
            connection.end()
        self._keeper.join(CLOSING_SECONDS)
