"""Refinements: the joint optimum of a selection at a block scope, made in the background.

No merge of components is exact there, so rule `joint` answers in one shot at first, and by its
refinement as soon as that is ready: a derived component (operator `refine`) of the same members,
with the same weights and files. It is found by that content, never by a name, so no answer can use
one that has another member or lacks one; and it goes with any of its parents.

The service makes one for every composition that is used, and one for "all" components of a space.
A replaced refinement is cancelled and its file deleted at once; its row stays until a parent is
deleted, so that this deletion finds everything ever made with that parent. One that a client or a
job uses stays as it is until a later replacement finds it free.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.database import pass_tables
from app.database.sessions import hold_write_lock, transaction
from app.database.tables import (
    BatchPrediction,
    BatchPredictionMember,
    Component,
    Composition,
    CompositionMember,
    Evaluation,
    EvaluationMember,
    Space,
    now,
)
from app.datasets import privacy_ledger
from app.errors import Problem
from app.files import intents
from app.files.blobs import LocalBlobs
from app.store import components, lineage, retraining
from tangent.vocabulary import LINEAR, REFINE, REFINE_PASSES

log = logging.getLogger(__name__)

PARAMETERS = {"passes": REFINE_PASSES}
RETRY_AFTER = timedelta(hours=1)  # from a refinement's first failure to its next try; then twice …
MAX_DOUBLED = 5  # … as long each time, up to 32 times
MIN_MEMBERS, MAX_MEMBERS = 2, 1000
Members = Sequence[tuple[Component, float | None]]


def find(session: Session, space: Space, members: Members) -> Component | None:
    """Return the refinement with exactly these members, preferring a ready one, or None.

    One that a client has made is none once it has failed or was cancelled.
    """
    wanted = sorted((part.id, part.sha256, weight) for part, weight in _counted(members))
    same = [
        row
        for row in _available(session, space)
        if wanted == sorted((p.parent_id, p.sha256, _number(p.weight)) for p in row.parents)
        and (row.automatic or row.status not in ("failed", "cancelled"))
    ]
    return min(same, key=lambda row: (row.status != "ready", -_passes(row), row.id), default=None)


def is_to_retry(row: Component) -> bool:
    """Return whether it is one that the service has made, and that failed long enough ago."""
    if not row.automatic or row.status != "failed" or row.finished_at is None:
        return False
    return now() - row.finished_at >= RETRY_AFTER * 2 ** min(row.generation, MAX_DOUBLED)


def possible(session: Session, space: Space, members: Members) -> bool:
    """Return True if a refinement can be made: the images of all members may be read."""
    counted = _counted(members)
    return (
        space.scope not in LINEAR
        and MIN_MEMBERS <= len(counted) <= MAX_MEMBERS
        and all(part.dataset_id is not None and part.derived is None for part, _ in counted)
        and not privacy_ledger.with_budget(session, {str(part.dataset_id) for part, _ in counted})
    )


def ensure(
    sessions: sessionmaker[Session],
    jobs: components.Queue,
    blobs: LocalBlobs,
    *,
    space: Space,
    members: Members,
    composition: str | None,
) -> Component | None:
    """Return the refinement of these members; queue it if there is none.

    `composition` is the one that it serves, None for all components of the space; an earlier
    refinement for it is replaced. One of these members that failed is tried again, when it is time.
    Return None where no refinement is possible, where the composition was deleted, or where the
    database refuses to write: the next answer tries again.
    """
    try:
        with transaction(sessions) as session:
            hold_write_lock(session)
            if not possible(session, space, members):  # as a dataset may have got a budget
                return None
            if composition is not None and session.get(Composition, composition) is None:
                return None
            row = find(session, space, members)
            if row is None:
                replace(session, blobs, space, composition)
                row = _queued(session, jobs, space, members, composition)
            elif is_to_retry(row):
                retraining.retry(session, jobs, blobs, row, reason="tried_again")
                session.refresh(row)
            return row
    except (Problem, SQLAlchemyError, OSError) as error:
        log.warning("a refinement was not queued: %s", error)
        return None


def _queued(
    session: Session,
    jobs: components.Queue,
    space: Space,
    members: Members,
    composition: str | None,
) -> Component:
    given = [(part.id, weight) for part, weight in _counted(members)]
    row = lineage.queue_derivation(
        session,
        jobs,
        space=space,
        parents=lineage.hold_parents(session, given),
        operator=REFINE,
        parameters=dict(PARAMETERS),
        dataset=None,
        name=f"joint of {composition or 'all components'}",
        seed=0,
        tags={},
    )
    row.automatic, row.refines = True, composition
    row.created_by = None  # no key's quota pays for it
    session.flush()
    return row


def replace(session: Session, blobs: LocalBlobs, space: Space, composition: str | None) -> None:
    """Replace the refinements made for this composition, except those that a client or a job uses.

    Those of compositions that are no more go too, as nothing else replaces them. The caller holds
    the write lock, before any row's: a worker's publication, and the queueing of a job, come before
    or not at all.
    """
    for row in _available(session, None if composition is not None else space):
        is_due = row.refines == composition or _is_orphan(session, row)
        if not row.automatic or not is_due or _is_used(session, row.id):
            continue
        session.refresh(row, with_for_update=True)
        if row.blob_key:
            intents.give_up(session, blobs, row.blob_key)
        components.withdraw(session, row.id)
        row.replaced_at = now()
    session.flush()


def _is_orphan(session: Session, row: Component) -> bool:
    """Return whether the composition that it was made for was deleted."""
    return row.refines is not None and session.get(Composition, row.refines) is None


def _is_used(session: Session, component_id: str) -> bool:
    """Return whether a composition names it, something was made from it, or a job needs it."""
    named = select(CompositionMember).where(CompositionMember.component_id == component_id)
    if session.scalar(named.limit(1)) or lineage.descendants(session, [component_id]):
        return True
    return any(session.scalar(query.limit(1)) is not None for query in _jobs_with(component_id))


def _jobs_with(component_id: str) -> list[Select[Any]]:
    """Return the queries for the evaluations and batch predictions under way that need it."""
    evaluations, batches = EvaluationMember, BatchPredictionMember
    active = pass_tables.ACTIVE
    return [
        select(Evaluation.id)
        .join(evaluations, evaluations.evaluation_id == Evaluation.id)
        .where(evaluations.component_id == component_id, evaluations.used)
        .where(Evaluation.status.in_(active)),
        select(BatchPrediction.id)
        .join(batches, batches.batch_prediction_id == BatchPrediction.id)
        .where(batches.component_id == component_id, batches.used)
        .where(BatchPrediction.status.in_(active)),
    ]


def _available(session: Session, space: Space | None) -> list[Component]:
    """Return the refinements of this space, or of all, that were not replaced and are thorough."""
    query = select(Component).where(
        Component.derived["operator"].as_string() == REFINE, components.current()
    )
    if space is not None:
        query = query.where(Component.space == space.name)
    rows = session.scalars(query.order_by(Component.id))
    return [row for row in rows if _passes(row) >= PARAMETERS["passes"]]


def _passes(row: Component) -> int:
    return int((row.derived or {}).get("parameters", {}).get("passes", 0))


def _counted(members: Members) -> list[tuple[Component, float]]:
    pairs = [(part, _number(weight)) for part, weight in members]
    return [(part, weight) for part, weight in pairs if weight]


def _number(weight: float | None) -> float:
    return 1.0 if weight is None else float(weight)
