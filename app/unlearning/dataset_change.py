"""A change of a dataset that stays: plan, down-dated files, then the deletion of the old data.

    done = change_dataset(parts, lambda session: change_plan.removal(session, …))

The new files are computed before the transaction, so that no other request waits for them. If the
dataset or a component changes meanwhile, the change is planned again.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import transaction
from app.database.tables import Component, Space
from app.errors import NotReady, Problem
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.intents import store
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.image_files import BadImage
from app.inference.engines import AnyEngine
from app.inference.models import Written
from app.inference.opened_spaces import TRAINED, OpenedSpaces, source_of
from app.parts import Parts
from app.receipts import ledger
from app.schemas.datasets import RelabelledDataset, Relabelling
from app.schemas.receipts import ReceiptOut
from app.store import datasets
from app.store.idempotency import Once
from app.unlearning import change_plan
from app.unlearning.change import Change, DowndatedFile, Overtaken, of_plan
from app.unlearning.change_plan import Plan
from app.unlearning.unlearn import Unlearned, await_others, unlearn
from tangent.errors import TangentError

MAX_ATTEMPTS = 10
Claim = Callable[[Session, str], str]  # receipt id -> id of this request's receipt


class Repeated(Exception):
    """An earlier request with the same Idempotency-Key has made this change."""

    def __init__(self, receipt_id: str) -> None:
        super().__init__(receipt_id)
        self.receipt_id = receipt_id


def relabel_dataset(
    parts: Parts, dataset_id: str, request: Relabelling, once: Once, *, probe: bool = False
) -> tuple[RelabelledDataset, Sequence[str]]:
    """Rename the dataset's labels, once for an idempotency key; return the dataset as it is then.

    Return the names of unconfirmed processes too, see `Unlearned`.

    Raises:
        Problem: as `change_dataset`.
    """
    done = change_once(
        parts,
        lambda session: change_plan.relabelling(session, dataset_id, request.rename),
        once,
        [request, probe],
        probe=probe,
    )
    with transaction(parts.reading) as session:
        shown = datasets.get(session, dataset_id)
        return RelabelledDataset.of(shown, ReceiptOut.of(done.receipt)), done.unconfirmed


def change_once(
    parts: Parts,
    plan: Callable[[Session], Plan],
    once: Once,
    request: Any,
    *,
    probe: bool = False,
) -> Unlearned:
    """Change the dataset as `change_dataset`, once for equal requests with one Idempotency-Key."""

    def unless_known(session: Session) -> Plan:
        known = once.known(session, request)
        if known is not None:
            raise Repeated(known)
        return plan(session)

    def claim(session: Session, receipt_id: str) -> str:
        return once.run(session, request, lambda: receipt_id, status=200)

    try:
        return change_dataset(parts, unless_known, claim, probe=probe)
    except Repeated as repeated:
        with transaction(parts.reading) as session:
            receipt = ledger.get(session, repeated.receipt_id)
        return Unlearned(receipt, await_others(parts))


def change_dataset(
    parts: Parts,
    plan: Callable[[Session], Plan],
    claim: Claim | None = None,
    *,
    probe: bool = False,
) -> Unlearned:
    """Carry out the plan everywhere; the receipt has a probe if requested.

    `claim` binds the request's key to the receipt, in the transaction that changes the rows.

    Raises:
        NotReady: `dataset_changing` when other processes have overtaken every attempt.
        Repeated: if the claim belongs to another receipt.
        Problem: as the plan's.
    """
    with parts.dataset_changes:
        for _ in range(MAX_ATTEMPTS):
            with transaction(parts.reading) as session:
                planned = plan(session)
            try:
                return _carry_out(parts, planned, claim, probe)
            except Overtaken:
                continue
    raise NotReady(
        "dataset_changing",
        f"the dataset or its components changed in each of {MAX_ATTEMPTS} attempts; nothing was "
        "done: try again",
    )


def _carry_out(parts: Parts, plan: Plan, claim: Claim | None, probe: bool) -> Unlearned:
    def change(session: Session) -> Change:
        locked = of_plan(session, parts.blobs, parts.jobs, plan, files)
        if claim is not None:
            receipt_id = claim(session, locked.receipt_id)
            if receipt_id != locked.receipt_id:
                raise Repeated(receipt_id)
        return locked

    with ExitStack() as stored:
        files = downdated(parts.engine, parts.spaces, parts.blobs, parts.sessions, plan)
        for file in files.values():
            stored.enter_context(file.blob)
        return unlearn(parts, change, probe=probe)


def downdated(
    engine: AnyEngine,
    spaces: OpenedSpaces,
    blobs: LocalBlobs,
    sessions: sessionmaker[Session],
    plan: Plan,
) -> dict[str, DowndatedFile]:
    """Store the new files of the plan's components, without training.

    Return them by component id; a component without one must be trained again.
    """
    files: dict[str, DowndatedFile] = {}
    try:
        for row, space in plan.components:
            path = blobs.scratch_path(row.id)
            try:
                written = _written(engine, spaces, blobs, plan, row, space, path)
                if written is not None:
                    files[row.id] = _stored(blobs, sessions, row, written, path)
            finally:
                path.unlink(missing_ok=True)
    except BaseException:
        for file in files.values():
            file.blob.withdraw()
        raise
    return files


def _written(
    engine: AnyEngine,
    spaces: OpenedSpaces,
    blobs: LocalBlobs,
    plan: Plan,
    row: Component,
    space: Space,
    path: Path,
) -> Written | None:
    """Write the component of the changed dataset to `path`; None if it needs a training.

    It does if it was trained iteratively or on other arithmetic. A damaged file or image, or a
    space that opens differently, is no reason to keep the old component either: the training will
    report the fault.
    """
    try:
        if row.metrics.get("environment") != engine.environment():
            return None  # this process does not reproduce the training bit for bit
        files = [datasets.read(blobs, plan.dataset, image) for image in plan.removed]
        budget = Budget(is_patient=True, times=ACCEPTED_TIMES)
        pixels = spaces.pixels(space, files, budget) if files else []
        read = [found for found in pixels if not isinstance(found, BadImage)]
        if len(read) < len(pixels):
            return None
        removed = list(zip(read, (image.label for image in plan.removed), strict=True))
        key = spaces.key(space, precision=TRAINED)
        source = source_of(row)
        return engine.change(key, source, path, removed=removed, renamed=plan.renamed)
    except (TangentError, Problem, BlobMissing):
        return None


def _stored(
    blobs: LocalBlobs,
    sessions: sessionmaker[Session],
    row: Component,
    written: Written,
    path: Path,
) -> DowndatedFile:
    blob = store(sessions, blobs, path, f"components/{row.id}/{uuid4().hex}.safetensors")
    l2 = float(str(written.hyperparameters["l2"]))
    return DowndatedFile(blob, written.sha256, written.size, written.labels, l2)
