"""Components: their rows, every move of their status, and the events that report the moves.

    → queued ⇄ training → ready           queue, start, release, publish
         └────────┴─────→ failed          fail
         └────────┴─────→ cancelled       cancel
    ready ──────────────→ cancelled       withdraw: a refinement that another one replaces
    ready, training ────→ queued          requeue: the data or the space changed; next generation
    ready ──────────────→ failed          spoil: its file is damaged, or of another space
    failed ─────────────→ ready           restore: its file is whole again
    failed ─────────────→ queued          retry: the next generation
    training ───────────→ training        start: another attempt; progress

MOVES is this diagram with the columns that a move sets. A move is one conditional UPDATE, so of two
processes that try it, one makes it. `start`, `progress`, `publish`, `fail` and `release` are the
training worker's; they return False or None if the component was cancelled, deleted or requeued in
the meantime. Rows are added by app.store.lineage.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session, defer

from app.access import callers
from app.database.ledger_order import receipts_so_far
from app.database.sessions import affected, hold_write_lock
from app.database.tables import ACTIVE, TERMINAL, Component, ComponentEvent, Tombstone, now
from app.datasets import privacy_ledger
from app.errors import Conflict, Gone, NotFound, NotReady

STATUSES = ACTIVE + TERMINAL

TIMES = (Component.created_at, Component.started_at, Component.finished_at, Component.replaced_at)
WITHOUT_TIMES = tuple(defer(column, raiseload=True) for column in TIMES)  # options of a query


class Move(NamedTuple):
    """A change of status: the statuses that allow it, and the columns that it sets."""

    sources: tuple[str, ...]
    target: str
    columns: Mapping[str, Any]  # values, SQL expressions of the row before, or `now`


ENDED = {"finished_at": now, "retraining": False}
NO_FILE = {"blob_key": None, "sha256": None, "bytes": None}
NEXT_GENERATION = NO_FILE | {"generation": Component.generation + 1, "attempts": 0}
NEXT_GENERATION |= {"progress": {}, "metrics": {}, "started_at": None, "finished_at": None}
WAS_READY = {"retraining": or_(Component.retraining, Component.status == "ready")}
# A refinement is tried again without having been ready: any other one was retrained.
WAS_RETRAINED = and_(Component.generation > 0, Component.automatic.is_(False))
HAD_FILE = {"retraining": or_(Component.blob_key.is_not(None), WAS_RETRAINED)}
MOVES: Mapping[str, Move] = MappingProxyType(
    {
        "start": Move(ACTIVE, "training", {"started_at": now, "attempts": Component.attempts + 1}),
        "progress": Move(("training",), "training", {}),
        "release": Move(
            ("training",), "queued", {"attempts": Component.attempts - 1, "progress": {}}
        ),
        "publish": Move(("training",), "ready", ENDED),
        "fail": Move(ACTIVE, "failed", ENDED),
        "cancel": Move(ACTIVE, "cancelled", ENDED),
        "withdraw": Move(("ready",), "cancelled", {"blob_key": None, "progress": {}}),
        "requeue": Move(("training", "ready"), "queued", NEXT_GENERATION | WAS_READY),
        "spoil": Move(("ready",), "failed", {"retraining": False}),  # its file may be put back
        "restore": Move(("failed",), "ready", {"error": None}),
        "retry": Move(("failed",), "queued", NEXT_GENERATION | {"error": None} | HAD_FILE),
    }
)


class Queue(Protocol):
    """The part of app.database.jobs.Jobs that queues a job."""

    def enqueue(self, session: Session, job_id: str) -> None: ...


def add(session: Session, component: Component, **event: Any) -> Component:
    """Insert a new component, made by the session's caller, and the event of its first status."""
    component.created_by = callers.key_id_of(session)
    session.add(component)
    session.flush()
    add_event(session, component.id, "status", status=component.status, **event)
    return component


def get(session: Session, component_id: str) -> Component:
    """Return the component as it is now, if the session's caller may see it.

    Raises:
        Gone: `component_deleted`, with the `receipt_id`.
        NotFound: `component_not_found`.
    """
    component = session.get(Component, component_id, populate_existing=True)
    if component is not None and callers.sees(session, component.space):
        return component
    tombstone = session.get(Tombstone, component_id)
    if tombstone is not None:
        raise Gone(
            "component_deleted",
            f"component {component_id} was deleted: receipt {tombstone.receipt_id} says what went",
            receipt_id=tombstone.receipt_id,
        )
    raise NotFound(
        "component_not_found",
        f"no component {component_id!r}: GET /v1/components lists those there are",
    )


def current() -> ColumnElement[bool]:
    """Return the condition that the service has not replaced the component."""
    return Component.replaced_at.is_(None)


def of_job(job_id: str) -> tuple[str, int]:
    """Return the component id and the generation that a job's id contains."""
    component_id, _, number = job_id.partition(".")
    return component_id, int(number or 0)


def start(session: Session, component_id: str, *, executor_id: str) -> Component | None:
    """Begin an attempt at training; None if there is nothing left to train."""
    if not move(session, component_id, "start"):
        return None
    component = get(session, component_id)
    begun = {"status": "training", "attempt": component.attempts, "worker": executor_id}
    add_event(session, component_id, "status", **begun)
    return component


def progress(session: Session, component_id: str, progress: dict[str, Any]) -> bool:
    """Store how far the training is; False tells the trainer to stop."""
    if not move(session, component_id, "progress", progress=progress):
        return False
    add_event(session, component_id, "progress", **progress)
    return True


def release(session: Session, component_id: str, *, generation: int, attempt: int) -> bool:
    """Queue an interrupted training again; its attempt does not count."""
    held = Component.generation == generation, Component.attempts == attempt
    released = move(session, component_id, "release", *held)
    if released:
        add_event(session, component_id, "status", status="queued")
    return released


def publish(
    session: Session,
    component_id: str,
    *,
    blob_key: str,
    sha256: str,
    bytes: int,
    labels: dict[str, int],
    metrics: dict[str, Any],
    generation: int = 0,
) -> bool:
    """Make the trained component ready, once; if it returns False, the caller drops its blob.

    A file that an earlier generation made from deleted data is never published.
    """
    hold_write_lock(session)
    file = {"blob_key": blob_key, "sha256": sha256, "bytes": bytes}
    content = file | {"labels": labels, "metrics": metrics, "receipts_before": receipts_so_far()}
    if not move(session, component_id, "publish", Component.generation == generation, **content):
        return False
    privacy_ledger.note_release(session, component_id)
    add_event(session, component_id, "status", status="ready", metrics=metrics)
    return True


def fail(
    session: Session, component_id: str, *, code: str, detail: str, generation: int | None = None
) -> bool:
    """End the training with an error for the client; False if it had ended already.

    With a `generation`, only if the component is still in it.
    """
    error = {"code": code, "detail": detail}
    same = [] if generation is None else [Component.generation == generation]
    failed = move(session, component_id, "fail", *same, error=error)
    if failed:
        add_event(session, component_id, "status", status="failed", error=error)
    return failed


def cancel(session: Session, component_id: str) -> Component:
    """End the training; the caller tells the job engine after its commit.

    Raises:
        Conflict: `component_finished` if it has ended already.
    """
    component = get(session, component_id)
    if not move(session, component_id, "cancel"):
        component = get(session, component_id)
        raise Conflict(
            "component_finished",
            f"component {component_id} is {component.status} already: there is nothing to cancel",
        )
    add_event(session, component_id, "status", status="cancelled")
    return get(session, component_id)


def withdraw(session: Session, component_id: str) -> bool:
    """Cancel a component that another one replaces, even a ready one; False if it had failed.

    The file of a ready one is the caller's to delete.
    """
    withdrawn = any(move(session, component_id, name) for name in ("cancel", "withdraw"))
    if withdrawn:
        add_event(session, component_id, "status", status="cancelled")
    return withdrawn


def requeue(session: Session, jobs: Queue, component_id: str, **event: Any) -> Component:
    """Drop the component's file after its data changed, and queue its next generation.

    `event` goes into the event of the move. The old file is the caller's to delete. A component
    that neither trains nor is ready is returned as it is. Whose space it is in does not matter.
    """
    requeued = move(session, component_id, "requeue")
    component = session.get_one(Component, component_id, populate_existing=True)
    if requeued:
        add_event(session, component_id, "status", status="queued", **event)
        jobs.enqueue(session, component.job_id)
    return component


def add_event(session: Session, component_id: str, kind: str, **data: Any) -> None:
    """Add an event that clients of the component's stream receive."""
    session.add(ComponentEvent(component_id=component_id, type=kind, data=data))
    session.flush()


def events(session: Session, component_id: str, *, after: int, limit: int) -> list[ComponentEvent]:
    """Return the component's events after number `after`, oldest first."""
    mine = ComponentEvent.component_id == component_id, ComponentEvent.id > after
    query = select(ComponentEvent).where(*mine).order_by(ComponentEvent.id).limit(limit)
    return list(session.scalars(query))


def last_events(session: Session, ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """Return the status and the number of the last event of each of these that exists."""
    query = (
        select(Component.id, Component.status, func.coalesce(func.max(ComponentEvent.id), 0))
        .outerjoin(ComponentEvent, ComponentEvent.component_id == Component.id)
        .where(Component.id.in_(ids))
        .group_by(Component.id, Component.status)
    )
    return {id_: (status, last) for id_, status, last in session.execute(query)}


def ready(session: Session, component_id: str) -> Component:
    """Return the component, if it has its file.

    Raises:
        NotReady: `component_damaged`.
        Conflict: `component_not_ready`.
        NotFound, Gone: as `get`.
    """
    component = get(session, component_id)
    error = component.error or {}
    if component.blob_key and error.get("code") == "component_damaged":
        raise NotReady("component_damaged", f"component {component_id}: {error['detail']}")
    if component.status != "ready":
        raise Conflict(
            "component_not_ready",
            f"component {component_id} is {component.status}, not ready: "
            f"GET /v1/components/{component_id}/events tells when it is",
        )
    return component


def move(
    session: Session,
    component_id: str,
    name: str,
    *conditions: ColumnElement[bool],
    **columns: Any,
) -> bool:
    """Make the move if the row is in one of its sources and meets the conditions."""
    sources, target, given = MOVES[name]
    allowed = Component.id == component_id, Component.status.in_(sources), *conditions
    set_by_move = {key: now() if value is now else value for key, value in given.items()}
    moved = update(Component).where(*allowed).values({"status": target} | set_by_move | columns)
    return affected(session, moved, keeps_selections=name == "progress") == 1
