"""API processes beside each other: started, started again when one ends, and ended together."""

import json
import logging
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread, Timer
from time import monotonic, sleep
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from app.server.launcher import command
from app.settings import Settings, environment_with

MODULE = "app.cli.api_process"
START_SECONDS = 180.0  # for a process to answer; it is ended then, and another one started
END_SECONDS = 30.0  # for a process that was told to end, a little more than it gives itself
LOOK_SECONDS = 0.2  # between two looks at the processes and the worker
RESTART_SECONDS = (0.1, 60.0)  # pause before a process is started again: first, longest
READY = "ready"  # what a process says once it answers
WORKER_FAULT = "worker-fault"  # the file with the reason why no worker runs

log = logging.getLogger(__name__)


class ApiProcess:
    """One place for a process: a new one is started whenever the last has ended."""

    def __init__(self, told: dict[str, Any], folder: Path) -> None:
        """`told` goes to the process as JSON; `folder` is where all of them count."""
        self._told, self._folder = json.dumps(told | {"folder": str(folder)}), folder
        self._lock, self._is_ending = Lock(), Event()
        self._process: subprocess.Popen[str] | None = None
        self.has_answered = False
        self.has_failed = False  # to answer at all

    def keep(self) -> None:
        """Run the process until `end`, or to the end of a first one that cannot answer."""
        pause = RESTART_SECONDS[0]
        while not self._is_ending.is_set():
            began = monotonic()
            status = self._run()
            if self._is_ending.is_set():
                return
            if not self.has_answered:
                log.error("an API process ended with status %s before it answered", status)
                self.has_failed = True
                return
            if monotonic() - began > RESTART_SECONDS[1]:
                pause = RESTART_SECONDS[0]
            log.error("an API process ended with status %s and is started again", status)
            self._is_ending.wait(pause)
            pause = min(2 * pause, RESTART_SECONDS[1])

    def _run(self) -> int | None:
        """Run one process to its end; return its status, None if it could not be started."""
        try:
            process = self._start()
        except OSError as error:  # too many processes, too little memory: that passes
            log.warning("an API process could not be started: %s", error)
            return None
        assert process.stdin and process.stdout
        # Its standard input stays open: its end tells the process that this one is gone.
        with suppress(BrokenPipeError):
            process.stdin.write(self._told + "\n")
            process.stdin.flush()
        late = Timer(START_SECONDS, process.kill)
        late.start()
        if process.stdout.readline().strip() == READY:
            self.has_answered = True
            late.cancel()
        status = process.wait()
        late.cancel()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        mark_process_dead(process.pid, str(self._folder))
        return status

    def _start(self) -> "subprocess.Popen[str]":
        with self._lock:
            self._process = subprocess.Popen(
                command(MODULE),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment_with(PROMETHEUS_MULTIPROC_DIR=str(self._folder)),
            )
            if self._is_ending.is_set():
                self._process.terminate()
            return self._process

    def end(self) -> None:
        """Tell the process to end; does not wait."""
        self._is_ending.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process now."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._process is not None:
                self._process.send_signal(number)  # nothing if it has ended


def run(
    settings: Settings,
    told: dict[str, Any],
    announce: Callable[[], object],
    end: Callable[[], object],
    worker_fault: Callable[[], str | None],
) -> bool:
    """Run as many processes as the settings say until a signal to end.

    Return whether all had answered; the first one that cannot ends all. `announce` is called when
    all answer, and `end` after the signal. `worker_fault` is why no worker runs beside them, as
    their health checks show it.
    """
    is_ending = _noted_signals()
    told = told | {"settings": settings.model_dump(mode="json", exclude_none=True)}
    with _made_folder() as folder, _kept(settings.api_processes, told, folder) as kept:
        is_announced = False
        while not is_ending() and not any(each.has_failed for each in kept):
            write_fault(folder / WORKER_FAULT, worker_fault())
            if not is_announced and all(each.has_answered for each in kept):
                announce()
                is_announced = True
            sleep(LOOK_SECONDS)
        end()
    return all(each.has_answered for each in kept)


def _noted_signals() -> Callable[[], bool]:
    """Return a function that tells whether a signal to end has come from now on."""
    noted: list[int] = []  # a lock could be held by what the handler interrupts
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda given, _: noted.append(given))
    return lambda: bool(noted)


@contextmanager
def _made_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tangent-api-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _kept(number: int, told: dict[str, Any], folder: Path) -> Iterator[list[ApiProcess]]:
    """Keep so many processes during the block; then end all, by force the late ones."""
    kept = [ApiProcess(told, folder) for _ in range(number)]
    keepers = [Thread(target=each.keep, name="api-keeper") for each in kept]
    for keeper in keepers:
        keeper.start()
    try:
        yield kept
    finally:
        for each in kept:
            each.end()
        late = monotonic() + END_SECONDS
        for keeper in keepers:
            keeper.join(max(0.0, late - monotonic()))
        for each in kept:
            each.kill()
        for keeper in keepers:
            keeper.join()


def write_fault(file: Path, fault: str | None) -> None:
    """Let the processes read why no worker runs; they find no file while one does."""
    if fault is None:
        file.unlink(missing_ok=True)
        return
    made = file.with_suffix(".new")
    made.write_text(fault)
    made.replace(file)
