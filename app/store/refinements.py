"""Refinements: the joint optimum of a selection at a block scope, made in the background.

No merge of components is exact there, so rule `joint` answers in one shot at first, and by its
refinement as soon as that is ready: a derived component (operator `refine`) of the same members,
with the same weights and files. It is found by that content, never by a name, so no answer can use
one that has another member or lacks one; and it goes with any of its parents.

The service makes one for every composition that is used, and one for "all" components of a space.
A replaced refinement is cancelled and its file deleted at once; its row stays until a parent is
deleted, so that this deletion finds everything ever made with that parent.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import hold_write_lock, transaction
from app.database.tables import Component, Composition, CompositionMember, Space, now
from app.datasets import privacy_ledger
from app.errors import Problem
from app.files import intents
from app.files.blobs import LocalBlobs
from app.store import components, lineage
from tangent.vocabulary import LINEAR, REFINE, REFINE_PASSES

log = logging.getLogger(__name__)

PARAMETERS = {"passes": REFINE_PASSES}
MIN_MEMBERS, MAX_MEMBERS = 2, 1000
Members = Sequence[tuple[Component, float | None]]


def find(session: Session, space: Space, members: Members) -> Component | None:
    """Return the refinement with exactly these members, preferring a ready one, or None."""
    wanted = sorted((part.id, part.sha256, weight) for part, weight in _counted(members))
    same = [
        row
        for row in _available(session, space)
        if wanted == sorted((p.parent_id, p.sha256, _number(p.weight)) for p in row.parents)
    ]
    return min(same, key=lambda row: (row.status != "ready", -_passes(row), row.id), default=None)


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
    refinement for it is replaced. Return None where no refinement is possible, where the
    composition was deleted, or where the database refuses to write: the next answer tries again.
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
    """Replace the refinements made for this composition, except those that a client uses.

    The caller holds the write lock, before any row's: a worker's publication comes before or not
    at all.
    """
    for row in _available(session, None if composition is not None else space):
        if not row.automatic or row.refines != composition:
            continue
        named = select(CompositionMember).where(CompositionMember.component_id == row.id)
        if session.scalar(named.limit(1)) or lineage.descendants(session, [row.id]):
            continue
        session.refresh(row, with_for_update=True)
        if row.blob_key:
            intents.give_up(session, blobs, row.blob_key)
        components.withdraw(session, row.id)
        row.replaced_at = now()
    session.flush()


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
