"""Refinements: the joint optimum of a selection at a block scope, made in the background.

No merge of components is exact there, so rule `joint` answers in one shot at first, and by its
refinement as soon as that is ready: a derived component (operator `refine`) of the same members,
with the same weights and files. It is found by that content, never by a name, so no answer can use
one that has another member or lacks one; and it goes with any of its parents.

The service makes them by itself for what is asked for by name or as "all", one for each of these:
the one that it replaces goes. What a client derives by operator `refine` serves as well.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, event, select
from sqlalchemy.orm import Session

from app.store import derivations, receipts
from app.store.blobs import LocalBlobs
from app.store.tables import Component, ComponentEvent, ComponentParent, CompositionMember, Space

OPERATOR, PARAMETERS = "refine", {"passes": 8}
EXACT = ("head", "head2toe")  # scopes at which joint needs no refinement
FEWEST, MOST = 2, 1000  # members
Members = Sequence[tuple[Component, float | None]]


def found(session: Session, space: Space, members: Members) -> Component | None:
    """The refinement of these members, a ready one before one that is to be, or never will."""
    if space.scope in EXACT:
        return None
    wanted = sorted((part.id, part.sha256, weight) for part, weight in _counted(members))
    same = [
        row
        for row in _all(session, space)
        if wanted == sorted((p.parent_id, p.sha256, _number(p.weight)) for p in row.parents)
    ]
    return min(same, key=lambda row: (row.status != "ready", row.id), default=None)


def possible(space: Space, members: Members) -> bool:
    """Whether the members' images are all held."""
    counted = _counted(members)
    return (
        space.scope not in EXACT
        and FEWEST <= len(counted) <= MOST
        and all(part.dataset_id is not None and part.derived is None for part, _ in counted)
    )


def ensure(
    session: Session,
    jobs: derivations.Queue,
    blobs: LocalBlobs,
    *,
    space: Space,
    members: Members,
    composition: str | None,
) -> Component | None:
    """The refinement of these members, queued if there is none; None where there can be none.

    `composition` is what it serves, None for all of the space; what served it before goes.

    Raises:
        Conflict, NotFound, Gone: as `derivations.held`, if a member has just changed.
    """
    if not possible(space, members):
        return None
    receipts.lock(session)  # of two that want it, one queues it
    row = found(session, space, members)
    if row is not None:
        return row
    drop(session, blobs, space, composition)
    given = [(part.id, weight) for part, weight in _counted(members)]
    row = derivations.queue(
        session,
        jobs,
        space=space,
        parents=derivations.held(session, given),
        operator=OPERATOR,
        parameters=dict(PARAMETERS),
        dataset=None,
        name=f"joint of {composition or 'all components'}",
        seed=0,
        tags={},
    )
    row.derived = (row.derived or {}) | {"automatic": True, "composition": composition}
    session.flush()
    return row


def drop(session: Session, blobs: LocalBlobs, space: Space, composition: str | None) -> None:
    """Remove what the service made for this composition, but for what a client has used since."""
    for row in _all(session, space):
        made = row.derived or {}
        if not made.get("automatic") or made.get("composition") != composition:
            continue
        named = select(CompositionMember.composition).where(
            CompositionMember.component_id == row.id
        )
        if session.scalar(named.limit(1)) or derivations.descendants(session, [row.id]):
            continue
        if row.blob_key:
            _delete_on_commit(session, blobs, row.blob_key)
        for table in (ComponentParent, ComponentEvent):
            session.execute(delete(table).where(table.component_id == row.id))
        session.expire(row, ["parents"])
        session.delete(row)
    session.flush()


def _all(session: Session, space: Space) -> list[Component]:
    query = select(Component).where(
        Component.space == space.name,
        Component.derived["operator"].as_string() == OPERATOR,
    )
    return list(session.scalars(query.order_by(Component.id)))


def _counted(members: Members) -> list[tuple[Component, float]]:
    pairs = [(part, _number(weight)) for part, weight in members]
    return [(part, weight) for part, weight in pairs if weight]


def _number(weight: float | None) -> float:
    return 1.0 if weight is None else float(weight)


def _delete_on_commit(session: Session, blobs: LocalBlobs, key: str) -> None:
    def committed(_session: Any) -> None:
        blobs.delete(key)

    event.listen(session, "after_commit", committed, once=True)
