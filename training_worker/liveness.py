"""Signs of life of this worker, and the return of dead workers' jobs to the queue.

The job engine does not notice a worker's death. So each worker writes a beat into the database, and
the other workers hand back the jobs of a silent one. On one machine (SQLite) each worker also
holds a lock file for life; if another can lock it, the worker is certainly dead, and its jobs need
not wait. A worker that was only frozen loses its attempts by this, not the data: see attempts.
"""

import fcntl
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import text

from app.database import outages
from app.database.jobs import Jobs
from app.database.sessions import open_engine, session_factory, transaction
from app.settings import Settings
from app.store import components, workers
from training_worker.sweeping import Sweeping

REAPER_LOCK = 0x7265_6170  # "reap": the number of our advisory lock on Postgres
RECORD_SECONDS = 60.0  # how long the engine's record of a finished job is kept

log = logging.getLogger(__name__)


class Liveness:
    """A thread that beats for this worker and looks after the others."""

    def __init__(self, settings: Settings, jobs: Jobs, executor_id: str) -> None:
        self.settings, self.jobs, self.executor_id = settings, jobs, executor_id
        self.engine = open_engine(settings)
        self.sessions = session_factory(self.engine)
        self.reading = session_factory(self.engine, read_only=True)
        self.sweeping = Sweeping(settings)
        self.alone = settings.sql_url.startswith("sqlite")  # all workers are on this machine
        self.folder = settings.data_dir / "workers"
        self._lock: IO[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)

    def start(self) -> None:
        """Give the first sign of life, before any job is taken, and go on giving them."""
        if self.alone:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._path(self.executor_id).open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        with transaction(self.sessions) as session:
            workers.beat(session, self.executor_id)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and delete the worker's row, after the jobs have been handed back."""
        self._stop.set()
        try:
            if self._thread.is_alive():
                self._thread.join(timeout=30)
            with transaction(self.sessions) as session:
                workers.leave(session, self.executor_id)
        finally:
            if self._lock is not None:
                self._path(self.executor_id).unlink(missing_ok=True)
                self._lock.close()
            self.sweeping.stop()
            self.engine.dispose()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with transaction(self.sessions) as session:
                    workers.beat(session, self.executor_id)
                with self._reaping() as still:
                    if still:
                        self._reap(still)
                        self._tidy()
                        self.sweeping.begin_if_due()
            except Exception as error:  # a database that is away comes back; the next beat tells
                outages.log_failure(
                    log, error, "worker %s could not give a sign of life", self.executor_id
                )
            self._stop.wait(self.settings.worker_heartbeat_seconds)

    @contextmanager
    def _reaping(self) -> Iterator[Callable[[], bool] | None]:
        """Yield a test of the right to reap, which can be lost; None if another worker has it.

        A reaper that is frozen in the middle loses the right when it counts as dead.
        """
        reaping = self._leased() if self.alone else self._locked()
        with reaping as still:
            yield still

    @contextmanager
    def _leased(self) -> Iterator[Callable[[], bool] | None]:
        """Hold a lease on SQLite, where a transaction held meanwhile would stop everything."""
        seconds = self.settings.worker_dead_seconds

        def take() -> bool:
            with transaction(self.sessions) as session:
                return workers.take_lease(session, self.executor_id, seconds=seconds)

        if not take():
            yield None
            return
        try:
            yield take
        finally:
            with transaction(self.sessions) as session:
                workers.give_lease_back(session, self.executor_id)

    @contextmanager
    def _locked(self) -> Iterator[Callable[[], bool] | None]:
        """Hold an advisory lock on Postgres, which ends with its transaction."""
        with self.engine.begin() as connection:
            patience = int(1000 * self.settings.worker_dead_seconds)
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {patience}"))
            locked = text(f"SELECT pg_try_advisory_xact_lock({REAPER_LOCK})")
            if connection.scalar(locked):
                yield lambda: connection.scalar(text("SELECT true")) is True
            else:
                yield None

    def _reap(self, still: Callable[[], bool]) -> None:
        """Hand the jobs of dead workers back, as long as this worker may."""
        with self.reading() as session:
            dead_seconds = self.settings.worker_dead_seconds
            alive = workers.alive(session, dead_seconds=dead_seconds)
            known = workers.known(session)
        for executor_id in sorted((known | self.jobs.running().keys()) - {self.executor_id}):
            if executor_id in alive and not self._proven_dead(executor_id):
                continue
            if not still():
                log.warning(
                    "worker %s was frozen while it reaped; another one reaps", self.executor_id
                )
                return
            # As they are now: another reaper may have handed some back meanwhile.
            jobs = self.jobs.running().get(executor_id, [])
            log.warning("worker %s is dead; handing back %s", executor_id, jobs or "nothing")
            self.jobs.hand_back(jobs)
            with transaction(self.sessions) as session:
                workers.leave(session, executor_id)
            self._path(executor_id).unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Drop records of finished jobs."""
        finished = self.jobs.finished(older_than_seconds=RECORD_SECONDS)
        if finished:
            detail = (
                "the training job ended without a result; see the worker's log, and train again"
            )
            with transaction(self.sessions) as session:
                for job_id in finished:  # nothing, but for one that the engine gave up
                    component_id, generation = components.of_job(job_id)
                    components.fail(
                        session,
                        component_id,
                        code="training_lost",
                        detail=detail,
                        generation=generation,
                    )
            self.jobs.forget(finished)

    def _proven_dead(self, executor_id: str) -> bool:
        """Return True if a worker of this machine has released its lock file."""
        try:
            with self._path(executor_id).open("rb") as file:
                return self.alone and _taken(file)
        except FileNotFoundError:
            return False

    def _path(self, executor_id: str) -> Path:
        return self.folder / f"{executor_id}.lock"


def _taken(file: IO[bytes]) -> bool:
    """Try to lock the file, until it is closed; return True on success."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
