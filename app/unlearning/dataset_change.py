"""Changes of a dataset that stays, and what becomes of the components trained from it.

    plan = plans.removal(session, dataset_id, image_id)       what is to change, as read
    files = …                                                 see app.unlearning.downdated_files
    revisions.carry_out(session, blobs, jobs, plan, files)    in one transaction

A ready component whose file could be restated has the new one at once. Any other that has seen the
old data is dropped and queued anew, as its next generation; a queued one has not begun.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app.receipts import body as statements
from app.receipts import ledger, residue, states
from app.receipts.body import Circumstances
from app.store import components, write_lock
from app.store.blobs import LocalBlobs
from app.store.db import affected
from app.store.jobs import records_of
from app.store.pack_erasure import freed
from app.store.tables import Component, ComponentEvent, Dataset, Tombstone, new_id
from app.unlearning import images, invalidation
from app.unlearning.change_plan import Plan
from app.unlearning.deletion import Deletion, artefact, delete_rows, locked, with_derived

Outcome = dict[str, str]


class Overtaken(Exception):
    """The dataset or a component is not as the plan has read it: plan anew."""


@dataclass(frozen=True)
class Restated:
    """A component's new file, in its place but named by no row."""

    old_sha256: str
    blob_key: str
    sha256: str
    bytes: int
    labels: dict[str, int]
    l2: float


def key_for(component_id: str) -> str:
    """A new key for a component's file."""
    return f"components/{component_id}/{uuid4().hex}.safetensors"


def carry_out(
    session: Session,
    blobs: LocalBlobs,
    jobs: components.Queue,
    plan: Plan,
    files: Mapping[str, Restated],
    how: Circumstances | None = None,
) -> Deletion:
    """Change the rows as planned; components with a file take it, the others are trained anew.

    Raises:
        Overtaken: if anything has changed since the plan was made.
        NotReady: as the probe of `how`.
    """
    how = how or Circumstances()
    write_lock.hold(session)
    dataset, found, derived = _locked(session, plan)
    receipt_id, salt = new_id("rcpt"), secrets.token_hex(16)
    ready = [component for component in [*found, *derived] if component.sha256]
    deletion = _old(session, blobs, found, derived)
    touched = sorted({component.space for component in ready})
    before = [states.state(session, space) for space in touched]
    told = _subjects(plan, derived) | _salted(salt, dataset, plan)
    told["invalidated"] = _invalidated(session, dataset, found, derived, receipt_id)
    told["removed"] = [artefact(component) for component in ready]
    told["removed"] += delete_rows(session, [each.id for each in derived], None, receipt_id)
    images.change(session, dataset, plan)
    gone = [*(each["id"] for each in told["subjects"]), *deletion["files"]]
    session.add_all(Tombstone(subject_id=each, receipt_id=receipt_id) for each in gone)
    outcomes = [
        _revise(session, jobs, plan, dataset, each, files.get(each.id), receipt_id)
        for each in found
    ]
    events = _forget_events(session, [component.id for component in found], receipt_id)
    told["components"] = [outcome for outcome in outcomes if outcome]
    told["removed"] += _counted(images=len(plan.removed), events=events)
    after = [states.state(session, space) for space in touched]
    pairs = list(zip(before, after, strict=True))
    told["labels"] = [states.labels_gone(salt, *pair, awaited=dataset.labels) for pair in pairs]
    told["manifests"] = [states.manifests(*pair) for pair in pairs]
    told["not_covered"] = list(residue.NOT_COVERED)
    body = statements.body(session, how, touched, told)
    return Deletion(
        receipt=ledger.append(session, receipt_id=receipt_id, body=body, signer=how.signer),
        erased=(dataset.pack_key, freed(session, dataset.id, plan.removed)),
        **deletion,
    )


def _invalidated(
    session: Session,
    dataset: Dataset,
    found: list[Component],
    derived: list[Component],
    receipt_id: str,
) -> dict[str, Any]:
    """What was fitted to components whose content changes, and to those that go."""
    ids, gone = [each.id for each in found], [each.id for each in derived]
    changed = invalidation.of(session, ids, dataset.id, receipt_id, gone=False)
    left = invalidation.of(session, gone, None, receipt_id, gone=True)
    return invalidation.both(changed, left)


def _old(
    session: Session, blobs: LocalBlobs, found: list[Component], derived: list[Component]
) -> dict[str, Any]:
    """What the components' present state leaves behind, as fields of a Deletion.

    Scratch files are listed before a job of the next generation can make its own.
    """
    ready = [component for component in found if component.status == "ready"]
    lost = [component for component in found if component.status == "training"]
    ended = [component for component in derived if component.status in components.ACTIVE]
    gone = [component.id for component in derived]
    return {
        "subject_ids": gone,
        "shas": [str(component.sha256) for component in [*ready, *derived] if component.sha256],
        "training": [component.job_id for component in [*lost, *ended]],
        "jobs": sorted(records_of(session, gone)),
        "files": [str(component.blob_key) for component in ready],
        "scratch": [path for component in found for path in blobs.scratch_of(component.id)],
    }


def _locked(session: Session, plan: Plan) -> tuple[Dataset, list[Component], list[Component]]:
    """The dataset, all components trained from it, and all that was derived from it or these.

    Nobody else changes them from here on.
    """
    query = select(Dataset).where(Dataset.id == plan.dataset.id).with_for_update()
    dataset = session.scalar(query.execution_options(populate_existing=True))
    if dataset is None:
        raise Overtaken
    everything = with_derived(session, locked(session, Component.dataset_id == dataset.id))
    derived = [each for each in everything if each.derived is not None]
    found = [each for each in everything if each.derived is None]
    planned = {component.id: component.sha256 for component, _ in plan.components}
    ready = {each.id: each.sha256 for each in found if each.status == "ready"}
    if dataset.revision != plan.dataset.revision or ready != planned:
        raise Overtaken
    return dataset, found, derived


def _subjects(plan: Plan, derived: list[Component]) -> dict[str, Any]:
    gone = [
        {"kind": "image", "id": image.id, "dataset_id": plan.dataset.id} for image in plan.removed
    ]
    further = [{"kind": "component", "id": component.id} for component in derived]
    subject = {"kind": "labels", "id": plan.dataset.id} if plan.renamed else gone[0]
    return {"subject": subject, "subjects": gone + further, "dataset_id": plan.dataset.id}


def _salted(salt: str, dataset: Dataset, plan: Plan) -> dict[str, Any]:
    archive = states.salted(salt, dataset.sha256) if dataset.sha256 else None
    hashes = [states.salted(salt, image.sha256) for image in plan.removed]
    return {"salt": salt, "salted_archive_sha256": archive, "salted_image_sha256": hashes}


def _revise(
    session: Session,
    jobs: components.Queue,
    plan: Plan,
    dataset: Dataset,
    component: Component,
    file: Restated | None,
    receipt_id: str,
) -> Outcome | None:
    """What becomes of one component; None for one that has ended without a file."""
    status, component.labels, component.progress = component.status, dict(dataset.labels), {}
    if status in ("failed", "cancelled"):
        _redact(component, plan)
        return None
    outcome = {"id": component.id, "outcome": "queued"}
    if status == "ready" and file is not None:
        outcome["outcome"] = "relabelled" if plan.renamed else "down_dated"
        outcome |= {"old_sha256": str(component.sha256), "new_sha256": file.sha256}
        component.blob_key, component.sha256 = file.blob_key, file.sha256
        component.bytes, component.labels = file.bytes, file.labels
        component.metrics = _unmeasured(component.metrics) | {"l2": file.l2}
    elif status != "queued":
        outcome["outcome"] = "retraining"
        session.flush()
        components.requeue(session, jobs, component.id, outcome="retraining", receipt_id=receipt_id)
        return outcome
    told = {"status": component.status, "outcome": outcome["outcome"], "receipt_id": receipt_id}
    components.add_event(session, component.id, "status", **told)
    return outcome


def _unmeasured(metrics: dict[str, Any]) -> dict[str, Any]:
    """What is left of a component's metrics once its data has changed."""
    return {name: metrics[name] for name in ("environment",) if name in metrics}


def _redact(component: Component, plan: Plan) -> None:
    """A failure may have named an image that goes now."""
    error = component.error or {}
    if any(image.path in error.get("detail", "") for image in plan.removed):
        component.error = error | {"detail": "the image that failed was deleted: train anew"}


def _forget_events(session: Session, ids: list[str], receipt_id: str) -> int:
    """Delete what earlier events told of losses and accuracies on the old data; how many.

    Those of this change stay: a client that follows goes on from them.
    """
    mine = ComponentEvent.component_id.in_(ids)
    newest = select(ComponentEvent).where(mine, ComponentEvent.type == "status")
    kept = [
        event.id for event in session.scalars(newest) if event.data.get("receipt_id") == receipt_id
    ]
    ended = select(Component.id).where(
        Component.id.in_(ids), Component.status.in_(("failed", "cancelled"))
    )
    old = or_(ComponentEvent.component_id.not_in(ended), ComponentEvent.type == "progress")
    return affected(
        session, delete(ComponentEvent).where(mine, old, ComponentEvent.id.not_in(kept))
    )


def _counted(**counts: int) -> list[dict[str, Any]]:
    return [{"kind": kind, "count": count} for kind, count in counts.items() if count]
