"""Processes that delete components, datasets and images, to be watched and killed."""

import io
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from app.database.jobs import Jobs
from app.database.sessions import open_engine, session_factory, transaction
from app.datasets import datasets
from app.errors import Gone
from app.files.blobs import LocalBlobs
from app.inference.engine.engine import Engine
from app.inference.engine.metrics import EngineMetrics
from app.inference.opened_spaces import OpenedSpaces
from app.receipts import signing
from app.settings import Settings
from app.unlearning import addition, change, change_plan, changed_files
from app.unlearning.deletion import DeletionContext, apply
from tests.support.processes import CONTEXT


def delete(pipe: Connection, settings: Settings, stop: str) -> None:
    """Delete the ids that come, and tell of every committed one; at `stop` pause in the middle."""
    sessions = session_factory(open_engine(settings))
    context = DeletionContext(signer=signing.signer(settings.receipt_key_file))
    pipe.send("ready")
    for component_id in pipe.recv():
        try:
            with transaction(sessions) as session:
                apply(session, change.of_component(session, component_id), context)
                if component_id == stop:
                    pipe.send("stopped")
                    time.sleep(600)
        except Gone:
            continue
        pipe.send(component_id)


class Deleting:
    """A deleting process, which has opened the database once this object exists."""

    def __init__(self, settings: Settings, stop: str = "") -> None:
        self._pipe, far = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=delete, args=(far, settings, stop))
        self.process.start()
        far.close()  # else this end would not see the other one end
        assert self.word() == "ready"

    def begin(self, ids: Sequence[str]) -> None:
        """Have it delete these."""
        self._pipe.send(list(ids))

    def word(self) -> str:
        """Return what it says next."""
        return self._pipe.recv()

    def kill(self) -> list[str]:
        """End it wherever it is; return what it had said by then."""
        self.process.kill()
        return self.rest()

    def rest(self) -> list[str]:
        """Return what the process still says before it ends."""
        said = []
        while True:
            try:
                said.append(self.word())
            except (EOFError, ConnectionResetError):
                break
        self.process.join(60)
        self.process.close()
        self._pipe.close()
        return said


def run_killed(target: Callable[..., None], *given: Any) -> None:
    """Run the function in a process of its own, which must end by being killed."""
    process = CONTEXT.Process(target=target, args=given)
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    process.close()


def delete_dataset(settings: Settings, dataset_id: str) -> None:
    """Delete the dataset and what was made from it; be killed between rows and files."""
    with transaction(session_factory(open_engine(settings))) as session:
        apply(session, change.of_dataset(session, dataset_id, cascade=True))
    os.kill(os.getpid(), signal.SIGKILL)


def delete_image(settings: Settings, dataset_id: str, image_id: str, moment: str) -> None:
    """Delete the image; be killed "before" or "after" the commit."""
    sessions = session_factory(open_engine(settings))
    blobs = LocalBlobs(settings.data_dir / "blobs")
    with transaction(sessions) as session:
        plan = change_plan.removal(session, dataset_id, image_id)
    engine = Engine(settings, blobs, EngineMetrics())
    spaces = OpenedSpaces(partial(engine.open, again=True), settings)
    files = changed_files.made(engine, spaces, blobs, sessions, plan)
    with transaction(sessions) as session:
        apply(session, change.of_plan(session, blobs, Jobs(settings), plan, files))
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def add_images(settings: Settings, dataset_id: str, packed: bytes, moment: str) -> None:
    """Add the archive's images; be killed "before" or "after" the commit."""
    sessions = session_factory(open_engine(settings))
    blobs = LocalBlobs(settings.data_dir / "blobs")
    engine = Engine(settings, blobs, EngineMetrics())
    spaces = OpenedSpaces(partial(engine.open, again=True), settings)
    with datasets.receive(io.BytesIO(packed), blobs, settings) as upload:
        with transaction(sessions) as session:
            plan = addition.plan(session, dataset_id, upload, settings)
        pack = addition.grown_pack(blobs, sessions, plan)
        files = changed_files.made(engine, spaces, blobs, sessions, plan)
        with transaction(sessions) as session:
            apply(session, change.of_plan(session, blobs, Jobs(settings), plan, files, pack))
            if moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
