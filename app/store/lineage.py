"""Components made from other components: queued, imported, and found when a parent goes.

The row of a derived component names its operator and parameters, and `component_parent` its
parents: by id and file hash where it was derived here, by hash alone where it was imported.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid
from app.store import components, write_lock
from app.store.members import Weighted
from app.store.tables import (
    Component,
    ComponentEvent,
    ComponentParent,
    Dataset,
    Space,
    new_id,
)

MOST_IDS = 500  # in one query: SQLite takes a limited number of values


class Queue(Protocol):
    """What `queue` asks of app.store.jobs.Jobs."""

    def enqueue(self, session: Session, component_id: str) -> None: ...


def held(session: Session, given: Sequence[Weighted]) -> list[tuple[Component, float | None]]:
    """The parents, in the order given; deletions wait until the transaction ends.

    Raises:
        Invalid: `component_repeated`, `component_other_space`.
        Conflict: `component_not_ready`.
        NotFound, Gone: as `components.get`.
    """
    write_lock.hold(session)
    ids = [component_id for component_id, _ in given]
    for component_id in ids:
        if ids.count(component_id) > 1:
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


def queue(
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
    """A new derived component and the job that makes it, in the caller's transaction.

    `parents` are held ones, `parameters` resolved ones, `dataset` the one to fit to, read after
    the parents were held.
    """
    component = Component(
        id=new_id("cmp"),
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
    session.add(component)
    session.flush()
    for position, (parent, weight) in enumerate(parents):
        assert parent.sha256 is not None  # it is ready
        _parent(session, component, position, parent.sha256, weight, parent_id=parent.id)
    event = ComponentEvent(component_id=component.id, type="status", data={"status": "queued"})
    session.add(event)
    session.flush()
    jobs.enqueue(session, component.id)
    return component


def imported(session: Session, component: Component, record: dict[str, Any]) -> None:
    """Note where an imported component comes from; `record` is the checked one of its file."""
    component.derived = {name: record[name] for name in ("operator", "parameters")}
    parents = [(each["sha256"], each["weight"]) for each in record["parents"]]
    for position, (sha256, weight) in enumerate(parents):
        _parent(session, component, position, sha256, weight)
    further = sorted(set(record["ancestors"]) - {sha256 for sha256, _ in parents})
    for position, sha256 in enumerate(further, len(parents)):
        _parent(session, component, position, sha256, None, direct=False)
    session.flush()


def parents(session: Session, component: Component) -> list[tuple[Component, ComponentParent]]:
    """The parents of a component that was derived here, with their weights.

    Raises:
        Conflict: `parent_changed` if one is not what it was when the derivation was asked for.
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
                "derive anew",
            )
    return found


def descendants(session: Session, ids: Collection[str]) -> list[str]:
    """The ids of all that was derived from these components, at any remove; sorted.

    An imported component descends from whatever has the hash of one of its ancestors.
    """
    found, latest = set(ids), set(ids)
    while latest:
        latest = _children(session, latest) - found
        found |= latest
    return sorted(found - set(ids))


def _children(session: Session, ids: Collection[str]) -> set[str]:
    ordered, found = sorted(ids), set[str]()
    for start in range(0, len(ordered), MOST_IDS):
        some = ordered[start : start + MOST_IDS]
        files = select(Component.sha256).where(
            Component.id.in_(some), Component.sha256.is_not(None)
        )
        by_hash = ComponentParent.parent_id.is_(None) & ComponentParent.sha256.in_(files)
        mine = or_(ComponentParent.parent_id.in_(some), by_hash)
        found.update(session.scalars(select(ComponentParent.component_id).where(mine)))
    return found


def _counts(parents: Any) -> dict[str, int]:
    """The images of each label, over all parents."""
    counts: dict[str, int] = {}
    for parent in parents:
        for label, count in parent.labels.items():
            counts[label] = counts.get(label, 0) + count
    return dict(sorted(counts.items()))


def _parent(
    session: Session,
    component: Component,
    position: int,
    sha256: str,
    weight: float | None,
    *,
    parent_id: str | None = None,
    direct: bool = True,
) -> None:
    session.add(
        ComponentParent(
            component_id=component.id,
            position=position,
            parent_id=parent_id,
            sha256=sha256,
            direct=direct,
            weight=weight,
        )
    )
