"""Refinements: the joint optimum of a selection at a block scope, made in the background.

No merge of components is exact there, so rule `joint` answers in one shot at first, and by its
refinement as soon as that is ready: a derived component (operator `refine`) of the same members,
with the same weights and files. It is found by that content, never by a name, so no answer can use
one that has another member or lacks one; and it goes with any of its parents.

The service makes them by itself for what is asked for by name or as "all", one for each of these.
One that is replaced is cancelled and its file goes at once; its row stays until a parent is
deleted, so that this deletion finds all that was ever made with it.
"""

import logging
from collections.abc import Sequence
from functools import partial

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from app.errors import Problem
from app.store import components, lineage, write_lock
from app.store.blobs import LocalBlobs
from app.store.db import on_commit, transaction
from app.store.tables import Component, Composition, CompositionMember, Space
from tangent.vocabulary import LINEAR, REFINE, REFINE_PASSES

log = logging.getLogger(__name__)

PARAMETERS = {"passes": REFINE_PASSES}
FEWEST, MOST = 2, 1000  # members
Members = Sequence[tuple[Component, float | None]]


def found(session: Session, space: Space, members: Members) -> Component | None:
    """The refinement of these members, a ready one before one that is to be, or never will."""
    if space.scope in LINEAR:  # rule joint is exact
        return None
    wanted = sorted((part.id, part.sha256, weight) for part, weight in _counted(members))
    same = [
        row
        for row in _standing(session, space)
        if wanted == sorted((p.parent_id, p.sha256, _number(p.weight)) for p in row.parents)
    ]
    return min(same, key=lambda row: (row.status != "ready", -_passes(row), row.id), default=None)


def possible(space: Space, members: Members) -> bool:
    """Whether the members' images are all held."""
    counted = _counted(members)
    return (
        space.scope not in LINEAR
        and FEWEST <= len(counted) <= MOST
        and all(part.dataset_id is not None and part.derived is None for part, _ in counted)
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
    """The refinement of these members, queued if there is none.

    `composition` is what it serves, None for all of the space; what served it before is retired.
    None where there can be none, where what was asked about has changed meanwhile, or where the
    database does not let anybody write just now: the next answer tries again.
    """
    if not possible(space, members):
        return None
    try:
        with transaction(sessions) as session:
            write_lock.hold(session)
            if composition is not None and session.get(Composition, composition) is None:
                return None
            row = found(session, space, members)
            if row is None:
                retire(session, blobs, space, composition)
                row = _queued(session, jobs, space, members, composition)
            return row
    except (Problem, DBAPIError) as error:
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
    row.derived = (row.derived or {}) | {"automatic": True, "composition": composition}
    session.flush()
    return row


def retire(session: Session, blobs: LocalBlobs, space: Space, composition: str | None) -> None:
    """Cancel what the service made for this composition, but for what a client has used since.

    The caller holds the ledger's lock, before any row's: a worker's publication comes before or not
    at all.
    """
    for row in _standing(session, None if composition is not None else space):
        made = row.derived or {}
        if not made.get("automatic") or made.get("composition") != composition:
            continue
        named = select(CompositionMember).where(CompositionMember.component_id == row.id)
        if session.scalar(named.limit(1)) or lineage.descendants(session, [row.id]):
            continue
        session.refresh(row, with_for_update=True)
        if row.blob_key:
            on_commit(session, partial(blobs.delete, row.blob_key))
        components.withdraw(session, row.id)
        row.derived = made | {"replaced": True}
    session.flush()


def _standing(session: Session, space: Space | None) -> list[Component]:
    """The refinements of this space, or of all, that may serve: not replaced, and thorough."""
    query = select(Component).where(
        Component.derived["operator"].as_string() == REFINE,
        Component.derived["replaced"].as_boolean().is_not(True),
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
