"""Lineage: new components and their origin: a dataset, other components or a file.

The row of a derived component names its operator and parameters, and `component_parent` its
parents: by id and file hash where it was derived here, by hash alone where it was imported.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import insert, or_, select
from sqlalchemy.orm import Session

from app.database.chunks import MAX_VALUES, chunks
from app.database.ids import next_id
from app.database.ledger_order import receipts_so_far
from app.database.sessions import hold_write_lock
from app.database.tables import Component, ComponentParent, Dataset, Space, now
from app.datasets import privacy_ledger
from app.datasets.training_images import training_labels
from app.errors import Conflict, Gone, Invalid
from app.store import components, spaces
from app.store.components import Queue
from app.store.members import Weighted
from tangent.components.privacy import Privacy


def queue_training(
    session: Session,
    jobs: Queue,
    *,
    space: Space,
    dataset: Dataset,
    name: str | None,
    hyperparameters: dict[str, Any],
    seed: int,
    tags: dict[str, Any],
    privacy: Privacy | None = None,
) -> Component:
    """Add a component and its training job in the caller's transaction: both exist or neither.

    `hyperparameters` are resolved; the default name is the dataset's.

    Raises:
        Gone, Invalid: `dataset_deleted`; `nothing_to_train`.
        Conflict: `budget_spent`; `privacy_required`.
    """
    spaces.hold(session, space)
    _hold_dataset(session, dataset)
    component = Component(
        id=next_id(session, "cmp", Component.id),
        name=name or dataset.name,
        space=space.name,
        dataset_id=dataset.id,
        status="queued",
        hyperparameters=hyperparameters,
        seed=seed,
        labels=_trained_labels(session, dataset, privacy),
        tags=tags,
        fingerprint=space.fingerprint,
        privacy=None if privacy is None else privacy.as_dict(),
    )
    components.add(session, component)
    if privacy is not None:
        privacy_ledger.spend(session, component)
    jobs.enqueue(session, component.job_id)
    return component


def _hold_dataset(session: Session, dataset: Dataset) -> None:
    """Wait for a transaction that is changing or deleting the dataset.

    Raises:
        Gone: `dataset_deleted`.
    """
    held = (
        select(Dataset).where(Dataset.id == dataset.id).with_for_update(read=True, key_share=True)
    )
    if session.scalar(held.execution_options(populate_existing=True)) is None:
        raise Gone("dataset_deleted", f"dataset {dataset.id} was deleted: train from another one")


def _trained_labels(session: Session, dataset: Dataset, privacy: Privacy | None) -> dict[str, int]:
    """Return the labels with their numbers of training images; 0 where only noise may tell.

    Raises:
        Invalid: `nothing_to_train`.
        Conflict: `privacy_required`.
    """
    counts = training_labels(session, dataset)
    if privacy is not None:
        return dict.fromkeys(privacy.labels, 0)
    privacy_ledger.require_private(dataset, "a training without privacy")
    return counts


def hold_parents(
    session: Session, given: Sequence[Weighted]
) -> list[tuple[Component, float | None]]:
    """Return the parents in the order given; deletions wait until the transaction ends.

    Raises:
        Invalid: `component_repeated`, `component_other_space`.
        Conflict: `component_not_ready`.
        NotFound, Gone: as `components.get`.
    """
    hold_write_lock(session)
    ids = [component_id for component_id, _ in given]
    for component_id, times in Counter(ids).items():
        if times > 1:
            raise Invalid("component_repeated", f"component {component_id} is named twice")
    parents = [components.ready(session, component_id) for component_id in ids]
    for parent in parents:
        if parent.space != parents[0].space:
            raise Invalid(
                "component_other_space",
                f"component {parent.id} belongs to space {parent.space!r}, {parents[0].id} to "
                f"{parents[0].space!r}: only components of one space can be merged",
            )
    return [(parent, weight) for parent, (_, weight) in zip(parents, given, strict=True)]


def queue_derivation(
    session: Session,
    jobs: Queue,
    *,
    space: Space,
    parents: Sequence[tuple[Component, float | None]],
    operator: str,
    parameters: dict[str, Any],
    dataset: Dataset | None,
    name: str | None,
    seed: int,
    tags: dict[str, Any],
) -> Component:
    """Add a derived component and the job that makes it, in the caller's transaction.

    `parents` are held and `parameters` resolved; `dataset` is the one to fit to, read after the
    parents were held.
    """
    component = Component(
        id=next_id(session, "cmp", Component.id),
        name=name or f"{operator} of {len(parents)}",
        space=space.name,
        dataset_id=dataset.id if dataset else None,
        status="queued",
        hyperparameters={},
        seed=seed,
        labels=_counts(parent for parent, _ in parents),
        tags=tags,
        fingerprint=space.fingerprint,
        derived={"operator": operator, "parameters": parameters},
    )
    components.add(session, component)
    _insert_parents(session, component, [(each.id, each.sha256, w) for each, w in parents])
    jobs.enqueue(session, component.job_id)
    return component


def add_import(
    session: Session, component: Component, record: Mapping[str, Any] | None = None
) -> Component:
    """Add an imported component whose checked file is there already; it is ready at once.

    `record` is the checked record of the derivation in the file, if it has one.
    """
    hold_write_lock(session)
    component.status, component.finished_at = "ready", now()
    component.receipts_before = receipts_so_far()  # type: ignore[assignment]
    components.add(session, component)
    if record is not None:
        component.derived = {name: record[name] for name in ("operator", "parameters")}
        named = [(None, each["sha256"], each["weight"]) for each in record["parents"]]
        further = set(record["ancestors"]) - {sha256 for _, sha256, _ in named}
        _insert_parents(session, component, named, sorted(further))
    return component


def of_same_file(session: Session, component: Component) -> list[str]:
    """Return the ids of the space's other ready components whose files have the same bytes."""
    query = select(Component.id).where(
        Component.space == component.space,
        Component.sha256 == component.sha256,
        Component.status == "ready",
        Component.id != component.id,
    )
    return list(session.scalars(query.order_by(Component.id).limit(10)))


def _insert_parents(
    session: Session,
    component: Component,
    named: Sequence[tuple[str | None, str | None, float | None]],
    further: Sequence[str] = (),
) -> None:
    """Insert the parents, by id, file hash and weight, and the hashes of further ancestors."""
    links = [*((*each, True) for each in named), *((None, sha, None, False) for sha in further)]
    rows = [
        {
            "component_id": component.id,
            "position": position,
            "parent_id": parent_id,
            "sha256": sha256,
            "weight": weight,
            "direct": direct,
        }
        for position, (parent_id, sha256, weight, direct) in enumerate(links)
    ]
    session.execute(insert(ComponentParent), rows)


def parents(session: Session, component: Component) -> list[tuple[Component, ComponentParent]]:
    """Return the parents of a component that was derived here, with their weights.

    Raises:
        Conflict: `parent_changed` if a parent has changed since the derivation was requested.
    """
    query = (
        select(Component, ComponentParent)
        .join(ComponentParent, ComponentParent.parent_id == Component.id)
        .where(ComponentParent.component_id == component.id)
        .order_by(ComponentParent.position)
    )
    found = [(parent, link) for parent, link in session.execute(query)]
    for parent, link in found:
        if parent.status != "ready" or parent.sha256 != link.sha256:
            raise Conflict(
                "parent_changed",
                f"component {parent.id} is not what it was when the derivation was asked for: "
                "derive it again",
            )
    return found


def with_ancestors(session: Session, rows: Sequence[Component]) -> list[Component]:
    """Return the components and all of their space that they were derived from, each once.

    An imported component is derived from what has the hash of one of its ancestors, as in
    `descendants`; of several components with one file, only one is returned.
    """
    found, latest = {row.id: row for row in rows}, [row.id for row in rows if row.derived]
    while latest:
        mine = ComponentParent.component_id.in_(latest[:MAX_VALUES])
        by_id = select(Component).join(ComponentParent, Component.id == ComponentParent.parent_id)
        new = {row.id: row for row in session.scalars(by_id.where(mine)) if row.id not in found}
        known = {row.sha256 for row in (*found.values(), *new.values())}
        by_hash = (
            select(Component)
            .join(ComponentParent, Component.sha256 == ComponentParent.sha256)
            .where(mine, ComponentParent.parent_id.is_(None), Component.space == rows[0].space)
            .order_by(Component.dataset_id.is_(None), Component.id)  # trained here: its images tell
        )
        for row in session.scalars(by_hash):
            if row.sha256 not in known:
                known.add(row.sha256)
                new[row.id] = row
        found |= new
        latest = latest[MAX_VALUES:] + [row.id for row in new.values() if row.derived]
    return list(found.values())


def descendants(session: Session, ids: Collection[str]) -> list[str]:
    """Return the sorted ids of all direct and indirect descendants of these components.

    An imported component descends from whatever has the hash of one of its ancestors.
    """
    found, latest = set(ids), set(ids)
    while latest:
        latest = _children(session, latest) - found
        found |= latest
    return sorted(found - set(ids))


def _children(session: Session, ids: Collection[str]) -> set[str]:
    found = set[str]()
    for some in chunks(sorted(ids)):
        files = select(Component.sha256).where(
            Component.id.in_(some), Component.sha256.is_not(None)
        )
        by_hash = ComponentParent.parent_id.is_(None) & ComponentParent.sha256.in_(files)
        mine = or_(ComponentParent.parent_id.in_(some), by_hash)
        found.update(session.scalars(select(ComponentParent.component_id).where(mine)))
    return found


def _counts(parents: Any) -> dict[str, int]:
    """Return the number of images of every label, over all parents."""
    counts: dict[str, int] = {}
    for parent in parents:
        for label, count in parent.labels.items():
            counts[label] = counts.get(label, 0) + count
    return dict(sorted(counts.items()))
