"""Components: a row's life from queued to ready, and its events.

    queued → training → ready          failed, cancelled: from queued or training
       └────────┴─────→ failed | cancelled

A ready or training one goes back to queued when its data changes (app.unlearning.dataset_change),
with the next number of its generation. Every move is one conditional UPDATE, so of two processes
that try it, one does it. `start`, `progress`, `publish` and `fail` are the training worker's; they
say False or None where the component was cancelled, deleted or queued anew in the meantime.
"""

from typing import Any, Protocol

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.errors import Conflict, Gone, NotFound
from app.store import write_lock
from app.store.db import affected
from app.store.tables import Component, ComponentEvent, Dataset, Space, Tombstone, new_id, now

ACTIVE = ("queued", "training")
TERMINAL = ("ready", "failed", "cancelled")
STATUSES = ACTIVE + TERMINAL


class Queue(Protocol):
    """What `queue` asks of app.store.jobs.Jobs."""

    def enqueue(self, session: Session, job_id: str) -> None: ...


def queue(
    session: Session,
    jobs: Queue,
    *,
    space: Space,
    dataset: Dataset,
    name: str | None,
    hyperparameters: dict[str, Any],
    seed: int,
    tags: dict[str, Any],
) -> Component:
    """A new component and its training job, in the caller's transaction: both exist or neither.

    `hyperparameters` are resolved ones; without a name it takes its dataset's.
    """
    # A dataset that is being changed or deleted at this moment is waited for.
    held = (
        select(Dataset).where(Dataset.id == dataset.id).with_for_update(read=True, key_share=True)
    )
    if session.scalar(held.execution_options(populate_existing=True)) is None:
        raise Gone("dataset_deleted", f"dataset {dataset.id} was deleted: train from another one")
    component = Component(
        id=new_id("cmp"),
        name=name or dataset.name,
        space=space.name,
        dataset_id=dataset.id,
        status="queued",
        hyperparameters=hyperparameters,
        seed=seed,
        labels=dict(dataset.labels),
        tags=tags,
        fingerprint=space.fingerprint,
    )
    session.add(component)
    session.flush()
    _event(session, component.id, "status", status="queued")
    jobs.enqueue(session, component.job_id)
    return component


def import_(
    session: Session,
    *,
    component_id: str,
    space: Space,
    name: str,
    hyperparameters: dict[str, Any],
    seed: int,
    labels: dict[str, int],
    tags: dict[str, Any],
    blob_key: str,
    sha256: str,
    bytes: int,
) -> Component:
    """A component whose checked file is under `blob_key` already; ready at once."""
    write_lock.hold(session)
    component = Component(
        id=component_id,
        name=name,
        space=space.name,
        dataset_id=None,
        status="ready",
        hyperparameters=hyperparameters,
        seed=seed,
        labels=labels,
        tags=tags,
        fingerprint=space.fingerprint,
        blob_key=blob_key,
        sha256=sha256,
        bytes=bytes,
        finished_at=now(),
    )
    session.add(component)
    session.flush()
    _event(session, component.id, "status", status="ready")
    return component


def get(session: Session, component_id: str) -> Component:
    """The component as it is now.

    Raises:
        Gone: `component_deleted`, with the `receipt_id`.
        NotFound: `component_not_found`.
    """
    component = session.get(Component, component_id, populate_existing=True)
    if component is not None:
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


def list_(
    session: Session,
    *,
    after: str | None,
    limit: int,
    status: str | None = None,
    space: str | None = None,
) -> list[Component]:
    """Components from the oldest on, behind `after`; none that the service has replaced."""
    replaced = Component.derived["replaced"].as_boolean()
    query = select(Component).where(replaced.is_not(True)).order_by(Component.id).limit(limit)
    if after is not None:
        query = query.where(Component.id > after)
    if status is not None:
        query = query.where(Component.status == status)
    if space is not None:
        query = query.where(Component.space == space)
    return list(session.scalars(query))


def of_job(job_id: str) -> tuple[str, int]:
    """The component's id and generation that a job's id stands for."""
    component_id, _, number = job_id.partition(".")
    return component_id, int(number or 0)


def start(session: Session, component_id: str, *, executor_id: str) -> Component | None:
    """Begin an attempt at training; None if there is nothing to train any more."""
    begun: dict[str, Any] = {"status": "training", "started_at": now()}
    begun["attempts"] = Component.attempts + 1
    if not _move(session, component_id, ACTIVE, **begun):
        return None
    component = get(session, component_id)
    _event(
        session,
        component_id,
        "status",
        status="training",
        attempt=component.attempts,
        worker=executor_id,
    )
    return component


def progress(session: Session, component_id: str, progress: dict[str, Any]) -> bool:
    """Note how far the training is; False tells the trainer to stop."""
    if not _move(session, component_id, ("training",), progress=progress):
        return False
    _event(session, component_id, "progress", **progress)
    return True


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
    """Make the trained component ready, once; False if the caller lost and drops its own blob.

    What an earlier generation's attempt has made of data that is gone is never taken.
    """
    write_lock.hold(session)
    published = _move(
        session,
        component_id,
        ("training",),
        generation,
        status="ready",
        retraining=False,
        blob_key=blob_key,
        sha256=sha256,
        bytes=bytes,
        labels=labels,
        metrics=metrics,
        finished_at=now(),
    )
    if published:
        _event(session, component_id, "status", status="ready", metrics=metrics)
    return published


def fail(
    session: Session, component_id: str, *, code: str, detail: str, generation: int | None = None
) -> bool:
    """End the training with an error that the client reads; False if it had ended already.

    With a `generation`, of this one only.
    """
    error = {"code": code, "detail": detail}
    ended: dict[str, Any] = {"status": "failed", "error": error, "finished_at": now()}
    ended["retraining"] = False
    failed = _move(session, component_id, ACTIVE, generation, **ended)
    if failed:
        _event(session, component_id, "status", status="failed", error=error)
    return failed


def cancel(session: Session, component_id: str) -> Component:
    """End the training; the caller tells the job engine after its commit.

    Raises:
        Conflict: `component_finished` if it has ended already.
    """
    ended: dict[str, Any] = {"status": "cancelled", "retraining": False, "finished_at": now()}
    if not _move(session, component_id, ACTIVE, **ended):
        component = get(session, component_id)
        raise Conflict(
            "component_finished",
            f"component {component_id} is {component.status} already: there is nothing to cancel",
        )
    _event(session, component_id, "status", status="cancelled")
    return get(session, component_id)


def events(session: Session, component_id: str, *, after: int, limit: int) -> list[ComponentEvent]:
    """What happened to the component behind event `after`, oldest first."""
    query = (
        select(ComponentEvent)
        .where(ComponentEvent.component_id == component_id, ComponentEvent.id > after)
        .order_by(ComponentEvent.id)
        .limit(limit)
    )
    return list(session.scalars(query))


def ready(session: Session, component_id: str) -> Component:
    """The component, if it has its file.

    Raises:
        Conflict: `component_not_ready`.
        NotFound, Gone: as `get`.
    """
    component = get(session, component_id)
    if component.status != "ready":
        raise Conflict(
            "component_not_ready",
            f"component {component_id} is {component.status}, not ready: "
            f"GET /v1/components/{component_id}/events tells when it is",
        )
    return component


def _move(
    session: Session,
    component_id: str,
    sources: tuple[str, ...],
    generation: int | None = None,
    **values: Any,
) -> bool:
    """Change the row if it is in one of these states (and of this generation); whether it was."""
    row = update(Component).where(Component.id == component_id, Component.status.in_(sources))
    if generation is not None:
        row = row.where(Component.generation == generation)
    return affected(session, row.values(**values)) == 1


def _event(session: Session, component_id: str, kind: str, **data: Any) -> None:
    session.add(ComponentEvent(component_id=component_id, type=kind, data=data))
    session.flush()
