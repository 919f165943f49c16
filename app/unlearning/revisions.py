"""The edge of every change of a dataset that stays: plan, files, then the deletion of the old.

The new files are computed before the transaction, so that no other request waits for it; if a
dataset or component has changed meanwhile, all is planned anew.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from app.errors import NotReady
from app.parts import Parts
from app.receipts.body import Circumstances
from app.store.db import Session, Unsettled, transaction
from app.store.idempotency import Once
from app.store.tables import Receipt
from app.unlearning import dataset_change, downdated_files
from app.unlearning.change_plan import Plan
from app.unlearning.deletion import Deletion
from app.unlearning.unlearn import unlearn

ATTEMPTS = 10
Claimed = Callable[[Session, Callable[[], Deletion]], Deletion]


def change_once(
    parts: Parts,
    plan: Callable[[Session], Plan],
    once: Once,
    asked: Any,
    *,
    probe: bool = False,
) -> str:
    """As `change`, and once only for requests with the same Idempotency-Key; the receipt's id."""

    def planned(session: Session) -> Plan:
        known = once.known(session, asked)
        if known is not None:
            raise Repeated(known)
        return plan(session)

    try:
        return change(parts, planned, partial(_claimed, once, asked), probe=probe).id
    except Repeated as repeated:
        return repeated.receipt_id


def change(
    parts: Parts,
    plan: Callable[[Session], Plan],
    claimed: Claimed = lambda _, do: do(),
    *,
    probe: bool = False,
) -> Receipt:
    """Carry out what is planned, everywhere; the receipt, with a probe if that is wanted.

    `claimed` is given the transaction and what is to be done in it.

    Raises:
        NotReady: `dataset_changing` when other processes have overtaken every attempt.
        Problem: as the plan's.
    """
    with parts.dataset_changes:
        for _ in range(ATTEMPTS):
            with transaction(parts.reading) as session:
                planned = plan(session)
            try:
                return _carried_out(parts, planned, claimed, probe)
            except dataset_change.Overtaken:
                continue
    raise NotReady(
        "dataset_changing",
        f"the dataset or its components changed in each of {ATTEMPTS} attempts; nothing was "
        "done: try again",
    )


def _carried_out(parts: Parts, plan: Plan, claimed: Claimed, probe: bool) -> Receipt:
    blobs, jobs = parts.blobs, parts.jobs
    files = downdated_files.of(parts.engine, blobs, plan)

    def carry_out(session: Session, how: Circumstances) -> Deletion:
        return claimed(
            session, lambda: dataset_change.carry_out(session, blobs, jobs, plan, files, how)
        )

    try:
        return unlearn(parts, carry_out, probe=probe)
    except Unsettled:  # the rows may name the files in a moment
        raise
    except BaseException:
        downdated_files.discard(parts.reading, blobs, files)
        raise


def _claimed(once: Once, asked: Any, session: Session, do: Callable[[], Deletion]) -> Deletion:
    """What was done, if the key is this request's; its row and the change are one transaction."""
    done: list[Deletion] = []

    def create() -> str:
        done.append(do())
        return done[0].receipt.id

    receipt_id = once.run(session, asked, create, status=200)
    if not done:
        raise Repeated(receipt_id)
    return done[0]


class Repeated(Exception):
    """An earlier request with the same Idempotency-Key has done it already."""

    def __init__(self, receipt_id: str) -> None:
        super().__init__(receipt_id)
        self.receipt_id = receipt_id
