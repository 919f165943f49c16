"""Retrainings although no data changed: of a space's components once it opens differently.

Components that were trained here from images are queued as their next generation. Imported and
derived ones fail with the reason, as nothing here can make them again, and so do those that would
tell of a dataset with a privacy budget once more. No receipt tells of it: no data went.
`Space.remade_after` tells which receipts describe the components before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.sessions import hold_write_lock
from app.database.tables import Component, Composition, Space, now
from app.datasets import privacy_ledger
from app.errors import Conflict
from app.files import intents
from app.files.blobs import LocalBlobs
from app.store import components, fitted_weights, spaces
from app.store.components import ACTIVE, Queue
from app.store.counts import deletions_so_far

KEPT = ("backbone", "scope", "declared_labels", "default_rule")  # of a space that is retrained
CURED = ("space_changed", "space_unavailable", "component_damaged")  # failures that retraining ends


@dataclass
class Retraining:
    """The ids of the components of a space that were changed."""

    queued: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # imported, derived, or kept by privacy
    compositions: list[str] = field(default_factory=list)  # that lost fitted weights
    jobs: list[str] = field(default_factory=list)  # that may run, to cancel after the commit


def retrain_space(
    session: Session, jobs: Queue, blobs: LocalBlobs, name: str, facts: Mapping[str, Any]
) -> Retraining:
    """Give the space the facts with which it opens now, and queue what can be trained again.

    If its fingerprint is the same, only components that failed for a reason of CURED are queued.

    Raises:
        NotFound: as `spaces.get`.
    """
    hold_write_lock(session)
    space = spaces.get(session, name)
    session.refresh(space, with_for_update=True)
    changed, done = facts["fingerprint"] != space.fingerprint, Retraining()
    for column, value in facts.items():
        if column not in KEPT:
            setattr(space, column, value)
    note_change(session, space)
    query = select(Component).where(Component.space == name).order_by(Component.id)
    for row in session.scalars(query.with_for_update()):
        if _is_trained(row) and row.privacy is None and not _has_budget(session, row):
            _train_again(session, jobs, blobs, row, space, done, changed=changed)
        elif changed and row.status in (*ACTIVE, "ready"):
            _give_up(session, blobs, row, space, done)
    if changed:
        done.compositions = _without_fitted_weights(session, name)
    return done


def retrain_component(
    session: Session, jobs: Queue, blobs: LocalBlobs, row: Component, space: Space
) -> None:
    """Queue a failed component as its next generation; the caller holds the write lock.

    Raises:
        Conflict: `component_not_failed`, `component_not_trained_here`; `private_component`,
            `budget_spent`; `privacy_required`.
    """
    if row.status != "failed":
        raise Conflict(
            "component_not_failed",
            f"component {row.id} is {row.status}, and only a failed one is trained again",
        )
    if not _is_trained(row):
        raise Conflict(
            "component_not_trained_here",
            f"component {row.id} was imported or derived, not trained from a dataset here: delete "
            "it, and import or derive it again",
        )
    if row.privacy is not None:
        privacy_ledger.check_not_released(session, row)
    elif _has_budget(session, row):
        raise privacy_ledger.required(str(row.dataset_id), f"training {row.id} again")
    row.fingerprint = space.fingerprint
    session.flush()
    retry(session, jobs, blobs, row, reason="retrained")


def note_change(session: Session, space: Space) -> None:
    """Note that the space's components change now and that no receipt will tell of it."""
    space.remade_after = deletions_so_far(session)
    session.flush()


def _is_trained(row: Component) -> bool:
    return row.dataset_id is not None and row.derived is None


def _has_budget(session: Session, row: Component) -> bool:
    return bool(privacy_ledger.with_budget(session, [str(row.dataset_id)]))


def _train_again(
    session: Session,
    jobs: Queue,
    blobs: LocalBlobs,
    row: Component,
    space: Space,
    done: Retraining,
    *,
    changed: bool,
) -> None:
    cured = row.status == "failed" and (row.error or {}).get("code") in CURED
    if not cured and not (changed and row.status in (*ACTIVE, "ready")):
        return
    if row.status == "training":
        done.jobs.append(row.job_id)
    done.queued.append(row.id)
    row.fingerprint = space.fingerprint
    session.flush()
    if cured:
        retry(session, jobs, blobs, row, reason="space_retrained")
    elif row.status != "queued":
        _drop_file(session, blobs, row)
        components.requeue(session, jobs, row.id, reason="space_retrained")


def retry(session: Session, jobs: Queue, blobs: LocalBlobs, row: Component, **event: Any) -> None:
    """Queue a failed component as its next generation; a damaged file goes."""
    _drop_file(session, blobs, row)
    components.move(session, row.id, "retry")
    components.add_event(session, row.id, "status", status="queued", **event)
    jobs.enqueue(session, components.get(session, row.id).job_id)


def _drop_file(session: Session, blobs: LocalBlobs, row: Component) -> None:
    if row.blob_key:
        intents.give_up(session, blobs, row.blob_key)


def _give_up(
    session: Session, blobs: LocalBlobs, row: Component, space: Space, done: Retraining
) -> None:
    """Fail an imported or derived component; a refinement is replaced by the next answer."""
    if row.status in ACTIVE:
        done.jobs.append(row.job_id)
    if row.automatic:
        _drop_file(session, blobs, row)
        components.withdraw(session, row.id)
        row.replaced_at = now()
        session.flush()
        return
    done.failed.append(row.id)
    made = f"space {space.name!r} has fingerprint {space.fingerprint} now, and this component was "
    cause, remedy = "imported for another one", "import one that was made for it"
    if row.privacy is not None and row.dataset_id is not None:
        cause, remedy = "private, and made once", "train another one, which spends as much again"
    elif _is_trained(row):
        cause = f"trained without noise from dataset {row.dataset_id}, which has a budget now"
        remedy = "train a private one"
    elif row.derived is not None:
        cause, remedy = "derived from components that are trained again", "derive it again"
    error = {"code": "space_changed", "detail": f"{made}{cause}: delete it, and {remedy}"}
    if not components.move(session, row.id, "spoil", error=error):
        components.move(session, row.id, "fail", error=error)
    components.add_event(session, row.id, "status", status="failed", error=error)


def _without_fitted_weights(session: Session, name: str) -> list[str]:
    """Take the weights out of compositions that were fitted to the components as they were."""
    query = select(Composition).where(Composition.space == name).order_by(Composition.name)
    lost = []
    for composition in session.scalars(query.with_for_update()):
        if fitted_weights.held(composition):
            fitted_weights.invalidate(composition, None)
            composition.updated_at = now()
            lost.append(composition.name)
    session.flush()
    return lost
