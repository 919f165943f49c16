"""A worker process: takes trainings off the queue, one at a time, until it is told to end."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from uuid import uuid4

from dbos import DBOS
from dbos import error as engine_error

from app.database.jobs import (
    APPLICATION,
    QUEUE,
    SERIALIZER,
    VERSION,
    WORKFLOW,
    Jobs,
    engine_options,
)
from app.database.migrate import CHECK, check_schema, check_tables
from app.database.sessions import fold_log
from app.files import folder_identity, folder_lock
from app.server.logs import set_up_logs, take_over_logs
from app.settings import BadSettings, Settings, remarks
from training_worker.attempts import Attempts
from training_worker.ending import Ending
from training_worker.liveness import Liveness
from training_worker.scrubbing import Scrubbing

POLL_SECONDS = 0.25  # between two polls of an empty queue
PRESENT = ("auto", "cpu")  # devices that every machine has
LET_GO = "Asyncio task cancelled for workflow or step"  # the engine's warning at each clean stop
# Another process asks: it loads torch, and takes memory on the device, for a moment only.
LOOK = """
import sys
from tangent.errors import UnknownDevice
from tangent.spaces.devices import device_of
try:
    device_of(sys.argv[1])
except UnknownDevice as error:
    sys.exit(f"{error}")
"""

log = logging.getLogger(__name__)


def is_news(record: logging.LogRecord) -> bool:
    """Return False for the engine's tracebacks on cancelled, taken over or deleted jobs.

    Nor is it news that a worker that ends lets go of the job that it has handed back.
    """
    expected = (
        engine_error.DBOSAwaitedWorkflowCancelledError,
        engine_error.DBOSNonExistentWorkflowError,
    )
    if record.getMessage().startswith(LET_GO):
        return False
    return not (record.exc_info and isinstance(record.exc_info[1], expected))


def run(settings: Settings, *, parent: int | None = None) -> None:
    """Work until SIGTERM or SIGINT, or until the parent process, if one is named, has ended.

    Raises:
        BadSettings: there is no database of this version, folder and database do not belong
            together, or there is no such device; before anything was done.
    """
    set_up_logs(settings, "worker")
    logging.getLogger("dbos").addFilter(is_news)
    if parent is None:  # an API that starts a worker has looked itself
        _check_device(settings.device)
    check_tables(settings, f"run `tangent migrate` to make them, or {CHECK}")
    check_schema(settings)
    for remark in remarks() if parent is None else ():
        log.warning("%s", remark)
    with folder_lock.shared(settings):
        folder_identity.claim(settings)
        _work(settings, parent)


def _check_device(name: str) -> None:
    """Raise BadSettings if torch cannot compute on the device: every training would fail."""
    if name in PRESENT:
        return
    look = [sys.executable, "-c", LOOK, name]
    done = subprocess.run(look, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"its check ended with {done.returncode}"])[-1]
        raise BadSettings(f"TANGENT_DEVICE is {name!r}: {why}")


def _work(settings: Settings, parent: int | None) -> None:
    ending = Ending(parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.request())
    worker = Worker(settings)
    try:
        worker.start()
        log.info("worker %s takes trainings", worker.executor_id)
        ending.wait()
    finally:
        ending.request()
        worker.stop()


class Worker:
    """One executor of the job engine; one in a process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.executor_id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self.jobs = Jobs(settings)
        self.attempts = Attempts(settings, self.executor_id)
        self.liveness = Liveness(settings, self.jobs, self.executor_id)
        self.scrubbing = Scrubbing(settings, self.executor_id)

    def start(self) -> None:
        """Give a sign of life, then join the queue, so that no unknown worker ever holds a job."""
        self.liveness.start()
        DBOS(
            config={
                "name": APPLICATION,
                "executor_id": self.executor_id,
                "application_version": VERSION,
                "serializer": SERIALIZER,
                "log_level": "WARNING",
                **engine_options(self.settings),
            }
        )
        take_over_logs()
        register(self.attempts)
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=1,
            polling_interval_sec=POLL_SECONDS,
            on_conflict="always_update",
        )
        self.scrubbing.start()

    def stop(self) -> None:
        """Kill the trainer and hand an unfinished job back, so that it costs no attempt.

        A step that fails, as while the database is away, does not keep the others from being tried.
        """
        self.attempts.stopping = True
        engine = self.attempts.engine
        steps: list[Callable[[], None]] = [
            self.scrubbing.stop,
            self.attempts.trainer.end_idle,
            DBOS.destroy,  # cancels what runs; the engine leaves it marked as this worker's
            lambda: self.jobs.hand_back(self.jobs.running().get(self.executor_id, [])),
            self.liveness.stop,
            self.jobs.close,
            lambda: fold_log(engine),
            engine.dispose,
        ]
        for step in steps:
            try:
                step()
            except Exception as error:
                log.warning("a step of the worker's end failed: %s", error)


def register(attempts: Attempts) -> None:
    """Register the queue's workflow with the engine. VERSION names this order of steps."""

    @DBOS.step(name="attempts", preemptible=True, retries_allowed=True, max_attempts=8)
    async def attempt(job_id: str) -> None:
        # An exception is the worker's own trouble, such as a database that is away: try again.
        await attempts.run(job_id)

    @DBOS.workflow(name=WORKFLOW)
    async def train(job_id: str) -> None:
        await attempt(job_id)
