"""A change of a dataset that stays: plan, down-dated files, then the deletion of the old data.

    done = change_dataset(parts, lambda session: change_plan.removal(session, …))

The new files are computed before the transaction, so that no other request waits for them. If the
dataset or a component changes meanwhile, the change is planned again.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

from sqlalchemy.orm import Session

from app.access import quotas
from app.database.sessions import transaction
from app.datasets import datasets
from app.errors import NotReady
from app.parts import Parts
from app.receipts import ledger
from app.store.idempotency import Once
from app.unlearning import change_plan, changed_files
from app.unlearning.addition import grown_pack
from app.unlearning.change import Change, Overtaken, of_plan
from app.unlearning.change_plan import Plan, Unchanged
from app.unlearning.unlearn import Unlearned, await_others, unlearn
from tangent_composer.schemas.dataset_images import CorrectedImage, ImageDeletion, LabelCorrection
from tangent_composer.schemas.datasets import RelabelledDataset, Relabelling
from tangent_composer.schemas.receipts import ReceiptOut

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
        dataset_id,
        lambda session: change_plan.relabelling(session, dataset_id, request.rename),
        once,
        [request, probe],
        probe=probe,
    )
    with transaction(parts.reading) as session:
        shown = datasets.get(session, dataset_id)
        return RelabelledDataset.of(shown, ReceiptOut.of(done.receipt)), done.unconfirmed


def delete_images(
    parts: Parts, dataset_id: str, request: ImageDeletion, once: Once, *, probe: bool = False
) -> Unlearned:
    """Remove the images, all at once and with one receipt, once for an idempotency key.

    Raises:
        Problem: as `change_dataset`.
    """
    return change_once(
        parts,
        dataset_id,
        lambda session: change_plan.removals(session, dataset_id, request.ids),
        once,
        [request, probe],
        probe=probe,
    )


def correct_image(
    parts: Parts, dataset_id: str, image_id: str, request: LabelCorrection, *, probe: bool = False
) -> tuple[CorrectedImage, Sequence[str]]:
    """Give the image its label; return the image that then has these bytes under this label.

    Return the names of unconfirmed processes too, see `Unlearned`. An image that has the label
    already is returned without a receipt.

    Raises:
        Problem: as `change_dataset`.
    """
    planned: list[Plan] = []

    def plan(session: Session) -> Plan:
        most = parts.settings.max_labels
        made = change_plan.correction(session, dataset_id, image_id, request.label, max_labels=most)
        planned.append(made)
        return made

    try:
        done = change_dataset(parts, plan, probe=probe)
    except Unchanged:
        with transaction(parts.reading) as session:
            return CorrectedImage.of(datasets.image(session, dataset_id, image_id)[1]), ()
    corrected = planned[-1].corrected
    assert corrected is not None
    with transaction(parts.reading) as session:
        shown = datasets.image(session, dataset_id, corrected.kept)[1]
        return CorrectedImage.of(shown, ReceiptOut.of(done.receipt)), done.unconfirmed


def change_once(
    parts: Parts,
    dataset_id: str,
    plan: Callable[[Session], Plan],
    once: Once,
    request: Any,
    *,
    probe: bool = False,
    alone: bool = True,
) -> Unlearned:
    """Change the dataset as `change_dataset`, once for equal requests with one Idempotency-Key.

    A key whose request changed nothing names the dataset, in place of a receipt.
    """

    def unless_known(session: Session) -> Plan:
        known = once.known(session, request)
        if known is not None:
            raise Repeated(known)
        return plan(session)

    def claim(session: Session, receipt_id: str) -> str:
        return once.run(session, request, lambda: receipt_id, status=200)

    try:
        return change_dataset(parts, unless_known, claim, probe=probe, alone=alone)
    except Repeated as repeated:
        known = repeated.receipt_id
    except Unchanged:
        with transaction(parts.sessions) as session:
            known = claim(session, dataset_id)
    if known == dataset_id:
        raise Unchanged
    with transaction(parts.reading) as session:
        receipt = ledger.get(session, known)
    return Unlearned(receipt, await_others(parts))


def change_dataset(
    parts: Parts,
    plan: Callable[[Session], Plan],
    claim: Claim | None = None,
    *,
    probe: bool = False,
    alone: bool = True,
) -> Unlearned:
    """Carry out the plan everywhere; the receipt has a probe if requested.

    `claim` binds the request's key to the receipt, in the transaction that changes the rows. One
    that is not `alone` keeps no other change of this process waiting, and may be overtaken by them.

    Raises:
        Unchanged: there is nothing to do.
        NotReady: `dataset_changing` when other processes have overtaken every attempt.
        Repeated: if the claim belongs to another receipt.
        Problem: as the plan's.
    """
    with parts.dataset_changes if alone else nullcontext():
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
        locked = of_plan(session, parts.blobs, parts.jobs, plan, files, pack)
        if claim is not None:
            receipt_id = claim(session, locked.receipt_id)
            if receipt_id != locked.receipt_id:
                raise Repeated(receipt_id)
        if plan.added is not None:
            maker = plan.dataset.created_by  # whose bytes they count as, whoever adds them
            quotas.check_key(session, maker, max_bytes=plan.added.bytes)
        return locked

    with ExitStack() as stored:
        pack = None
        if plan.added is not None:
            grown = grown_pack(parts.blobs, parts.sessions, plan)
            pack = stored.enter_context(grown)
        files = changed_files.made(parts.engine, parts.spaces, parts.blobs, parts.sessions, plan)
        for file in files.values():
            stored.enter_context(file.blob)
        return unlearn(parts, change, probe=probe)
