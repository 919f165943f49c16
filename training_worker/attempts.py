"""From a queued component to a published one: attempts at its training, one after another.

Each attempt has a number (the row's `attempts`) and a scratch folder of its own. A worker whose
attempt is no longer current (the component was cancelled or deleted, its data changed, or another
worker took over) kills its trainer and publishes nothing.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy.exc import OperationalError

from app.database import outages
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Component, Dataset
from app.datasets.datasets import IMAGE_DAMAGED
from app.files import intents
from app.files.blobs import LocalBlobs
from app.files.intents import Intent
from app.files.paced_files import Pace
from app.settings import Settings
from app.store import components, scrub, workers
from app.store.workers import Attempt
from training_worker.process import TrainerDied, TrainerProcess

WATCH_SECONDS = 0.25  # between two looks at the row; also the pace of its progress
PATIENCE = (0.5, 2.0, 8.0, 30.0)  # pauses before a publication is tried again on a failing database

log = logging.getLogger(__name__)
T = TypeVar("T")


class Attempts:
    """The trainings of one worker, one at a time."""

    def __init__(self, settings: Settings, executor_id: str) -> None:
        self.settings, self.executor_id = settings, executor_id
        self.engine = open_engine(settings)
        self.sessions = session_factory(self.engine)
        self.reading = session_factory(self.engine, read_only=True)
        self.blobs = LocalBlobs(settings.data_dir / "blobs")
        self.trainer = TrainerProcess(settings)
        self.stopping = False  # the worker ends: a training cancelled now is handed back

    async def run(self, job_id: str) -> None:
        """Train until the component is ready, failed or no longer ours; replace a dead trainer."""
        died: TrainerDied | None = None
        attempt: Attempt | None = None
        while True:
            component = await asyncio.to_thread(self._begin, job_id, attempt, died)
            if component is None:
                return
            attempt = Attempt.of(component)
            try:
                await self._attempt(component)
                return
            except TrainerDied as error:
                died = error
                log.warning("%s: attempt %d: the trainer %s", job_id, attempt.number, died)

    def _begin(
        self, job_id: str, previous: Attempt | None, died: TrainerDied | None
    ) -> Component | None:
        """Start the next attempt; None if there is nothing to train, or it was tried too often."""
        component_id, generation = components.of_job(job_id)
        with transaction(self.sessions) as session:
            if previous and not workers.locks(session, previous):
                return None
            component = session.get(Component, component_id, with_for_update=True)
            if component is None or component.status not in components.ACTIVE:
                return None
            if component.generation != generation:  # its data has changed: a later job trains it
                return None
            tried = component.attempts
            if tried < self.settings.max_attempts:
                return components.start(session, component_id, executor_id=self.executor_id)
            cause = f"the trainer {died}" if died else "the worker died"
            detail = f"the training died in each of {tried} attempts, in the last one {cause}: "
            advice = "give the worker more memory or train from a smaller dataset, then train again"
            components.fail(session, component_id, code="training_died", detail=detail + advice)
            return None

    async def _attempt(self, component: Component) -> None:
        for left in self.blobs.scratch_of(component.id):  # by earlier attempts that were killed
            shutil.rmtree(left, ignore_errors=True)
        folder = self.blobs.scratch_path(component.id)
        try:
            folder.mkdir()
        except OSError as error:
            await _uninterrupted(self._fail_to_store, component, error)
            return
        try:
            outcome = await self._train(component, folder)
            if outcome is not None:
                await _uninterrupted(self._finish, component, outcome)
        except asyncio.CancelledError:
            if self.stopping:
                await _uninterrupted(self._release, component)
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _train(self, component: Component, folder: Path) -> dict[str, Any] | None:
        """Return the trainer's final message; None if the attempt was lost in the meantime."""
        news: list[dict[str, Any]] = []  # the latest progress, until it is written down
        training = asyncio.create_task(
            self.trainer.train(component.id, folder, lambda progress: news.append(progress))
        )
        try:
            while True:
                done, _ = await asyncio.wait({training}, timeout=WATCH_SECONDS)
                latest = news[-1] if news else None
                news.clear()
                if not await asyncio.to_thread(self._note, component, latest):
                    return None
                if done:
                    return training.result()
        finally:
            training.cancel()
            await asyncio.wait({training})
            if not training.cancelled():
                training.exception()  # seen

    def _note(self, component: Component, progress: dict[str, Any] | None) -> bool:
        """Write progress down; False if the attempt is no longer ours."""
        try:
            if progress is None:
                with self.reading() as session:
                    return workers.holds(session, Attempt.of(component))
            noted = {name: value for name, value in progress.items() if name != "type"}
            with transaction(self.sessions) as session:
                held = workers.locks(session, Attempt.of(component))
                return held and components.progress(session, component.id, noted)
        except OperationalError as error:  # no reason to lose hours of training
            log.warning("%s: the database does not answer: %s", component.id, error)
            return True

    def _finish(self, component: Component, outcome: dict[str, Any]) -> None:
        """Make the row ready or failed, by the trainer's final message."""
        if outcome["type"] == "failed":
            self._fail(component, outcome["code"], outcome["detail"])
            if outcome["code"] == IMAGE_DAMAGED:
                self._read_dataset(component)
            return
        key = f"components/{component.id}/{uuid4().hex}.safetensors"
        try:
            file = _patiently(
                lambda: intents.store(self.sessions, self.blobs, Path(outcome["file"]), key)
            )
        except OSError as error:
            self._fail_to_store(component, error)
            return
        with file:
            if _patiently(lambda: self._publish(component, file, outcome)):
                log.info("%s is ready", component.id)

    def _publish(self, component: Component, file: Intent, outcome: dict[str, Any]) -> bool:
        """Publish the stored file; return True if it is the component's now."""
        facts = {name: outcome[name] for name in ("sha256", "bytes", "labels", "metrics")}
        facts["generation"] = component.generation
        with transaction(self.sessions) as session:
            if components.publish(session, component.id, blob_key=file.key, **facts):
                file.settle(session)
                return True
            row = session.get(Component, component.id, populate_existing=True)
            # An earlier try may have been committed although the database failed to say so.
            if row is None or row.blob_key != file.key:
                return False
            file.note_settled()
            return True

    def _read_dataset(self, component: Component) -> None:
        """Find out which other images of the component's dataset are damaged, and mark all."""
        with self.reading() as session:
            dataset = session.get(Dataset, component.dataset_id or "")
        if dataset is not None:
            scrub.read_dataset(self.sessions, self.blobs, Pace(), dataset)

    def _fail_to_store(self, component: Component, error: OSError) -> None:
        outage = outages.problem_of(error)
        if outage is not None and outage.code == "disk_full":
            self._fail(component, outage.code, outage.detail)
        else:
            detail = f"the trained component could not be stored: {error}"
            self._fail(component, "storage_failed", detail)

    def _fail(self, component: Component, code: str, detail: str) -> None:
        with transaction(self.sessions) as session:
            if workers.locks(session, Attempt.of(component)):
                components.fail(session, component.id, code=code, detail=detail)

    def _release(self, component: Component) -> None:
        with transaction(self.sessions) as session:
            components.release(
                session,
                component.id,
                generation=component.generation,
                attempt=component.attempts,
            )


async def _uninterrupted(function: Callable[..., Any], *arguments: Any) -> None:
    """Run the function in a thread to its end, even if the task is cancelled meanwhile."""
    running = asyncio.create_task(asyncio.to_thread(function, *arguments))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def _patiently(function: Callable[[], T]) -> T:
    """Return the function's result; try again while the database fails."""
    for pause in PATIENCE:
        try:
            return function()
        except OperationalError as error:
            log.warning("the database failed, trying again: %s", error)
            sleep(pause)
    return function()
