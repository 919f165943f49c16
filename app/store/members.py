"""The members of a selection: ready components of one space, with weights that the rule takes."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, or_, select
from sqlalchemy.orm import Session

from app.access import callers
from app.database.row_checksums import KEPT, was_kept
from app.database.tables import Component, Dataset, Space
from app.datasets import datasets, privacy_ledger
from app.errors import Conflict, Invalid
from app.store import components
from tangent.vocabulary import OF_STATISTICS, RULES, weight_fault

RETRY_SECONDS = 5.0  # wait for a training that has not reported its duration yet
DAMAGED = "component_damaged"
Weighted = tuple[str, float | None]  # a component's id and its weight; None: by the rule


class Chosen(NamedTuple):
    """The components of a selection, and the ids of those that it is without for now."""

    members: list[tuple[Component, float | None]]
    retraining: list[str]
    damaged: list[str]


def choose(
    session: Session,
    space: Space,
    rule: str,
    given: Sequence[Weighted] | None,
    *,
    skip_retraining: bool,
) -> Chosen:
    """Return ready components with their weights, ordered by id: the given ones, or all.

    With `skip_retraining`, those that are being retrained are left out. "All" does so, leaves out
    damaged ones, and excludes derived ones, which would count their parents a second time.

    Raises:
        Conflict: `components_retraining` if no other one is left, with `retry_after` in seconds;
            `no_components` if the space has none ready; `component_not_ready`.
        NotReady: `component_damaged` if a given one is damaged, or all are.
        Invalid: `component_other_space`; as `weigh` and `joinable`.
        NotFound, Gone: as `components.get`.
    """
    weigh(rule, given or ())
    if given is None:
        rows = _all(session, space)
    else:
        rows = _named(session, space, [component_id for component_id, _ in given])
    damaged = [row for row in rows if given is None and _is_damaged(row)]
    awaited = [row for row in rows if row.retraining and skip_retraining and row not in damaged]
    left_out = {row.id for row in (*awaited, *damaged)}
    chosen = [row for row in rows if row.id not in left_out]
    if awaited and not chosen:
        raise _all_retraining(awaited)
    if damaged and not chosen:
        components.ready(session, damaged[0].id)
    _check_ready(session, space, chosen)
    if given is None:
        weigh(rule, [(row.id, None) for row in chosen])
    joinable(rule, chosen)
    weights = dict(given or ())
    members = [(row, weights.get(row.id)) for row in chosen]
    return Chosen(members, [row.id for row in awaited], [row.id for row in damaged])


def selected(session: Session, space: Space, ids: Collection[str]) -> list[Component]:
    """Return these components of a space, all of them ready, ordered by id.

    Raises:
        Conflict: `component_not_ready`.
        NotReady: `component_damaged`.
        Invalid: `component_other_space`.
        NotFound, Gone: as `components.get`.
    """
    rows = _named(session, space, ids)
    _check_ready(session, space, rows)
    return rows


def require_unchanged(
    session: Session, parts: Sequence[Mapping[str, Any]], dataset: Dataset | None
) -> None:
    """Check that a dataset and components still exist as they were when the work began.

    `parts` have an `id` and a `sha256` each; `dataset` is the row as it was read then.

    Raises:
        Gone: the dataset's or a component's.
        Conflict: `dataset_changed` if an image was deleted or a label renamed since;
            `selection_changed` if a component is another one by now, or a refinement that was
            replaced; `privacy_required`.
    """
    if dataset is not None:
        revision = dataset.revision  # before the row, which may be the same object, is read again
        found = datasets.get(session, dataset.id)
        privacy_ledger.require_private(found, "what is computed from its images")
        if found.revision != revision:
            raise Conflict(
                "dataset_changed",
                f"images or labels of dataset {dataset.id} changed in the meantime: ask again",
            )
    for part in parts:
        row = components.get(session, part["id"])
        if row.sha256 != part["sha256"]:
            raise Conflict(
                "selection_changed",
                f"component {part['id']} changed in the meantime: ask again",
            )
        if row.blob_key is None:  # its hash stays, for receipts
            raise Conflict(
                "selection_changed",
                f"component {part['id']} is a refinement that was replaced in the meantime, and "
                "has no file any more: ask again",
            )


def _all(session: Session, space: Space) -> list[Component]:
    """Return all components that answer in a space, or do again once retrained or mended."""
    damaged = and_(is_damaged(), Component.derived.is_(None))
    query = select(Component).where(
        Component.space == space.name, or_(and_(*in_all()), Component.retraining, damaged)
    )
    query = query.order_by(Component.id).options(*components.WITHOUT_TIMES)
    return list(session.scalars(query.execution_options(**KEPT)))


def _is_damaged(row: Component) -> bool:
    """Return whether the file of one of all components, or its row, is damaged."""
    return row.status == "failed" or was_kept(row)


def _named(session: Session, space: Space, ids: Collection[str]) -> list[Component]:
    visible = callers.seen(session, Component.space)
    query = select(Component).where(Component.id.in_(ids), *visible)
    query = query.options(*components.WITHOUT_TIMES)
    found = {row.id: row for row in session.scalars(query)}
    rows = [found.get(each) or components.get(session, each) for each in sorted(set(ids))]
    homes = {row.space for row in rows}
    for row in rows:
        if row.space != space.name:
            remedy = f"say space {row.space!r}, where all of them are"
            if len(homes) > 1:
                remedy = "components of different spaces cannot be added"
            raise Invalid(
                "component_other_space",
                f"component {row.id} belongs to space {row.space!r}, not to {space.name!r}: "
                + remedy,
            )
    return rows


def _check_ready(session: Session, space: Space, rows: Sequence[Component]) -> None:
    if not rows:
        raise Conflict(
            "no_components",
            f"space {space.name!r} has no ready component to answer with: "
            "POST a dataset with train=true, and wait until its component is ready",
        )
    for row in rows:
        if row.status != "ready":
            components.ready(session, row.id)


def _all_retraining(awaited: Sequence[Component]) -> Conflict:
    ids = [row.id for row in awaited]
    known = [row.progress.get("eta_seconds") or RETRY_SECONDS for row in awaited]
    return Conflict(
        "components_retraining",
        f"all of {', '.join(ids[:20])} are being trained again, as their datasets have "
        "changed: GET /v1/components/{id}/events tells when they are ready, or try again after "
        "the seconds in Retry-After",
        retraining=ids,
        retry_after=math.ceil(max(known)),
    )


def in_all() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a component that "all" includes."""
    return Component.status == "ready", Component.derived.is_(None)


def is_damaged() -> ColumnElement[bool]:
    """Return the condition that the component has failed because of its file."""
    failed = Component.status == "failed", Component.blob_key.is_not(None)
    # JSON of a damaged row may be none any more, which would end the statement with an error.
    code = case((and_(*failed, Component.intact), Component.error["code"].as_string()))
    return and_(*failed, code == DAMAGED)


def joinable(rule: str, chosen: Sequence[Component]) -> None:
    """Refuse components without statistics by rules that add them: derived ones, some imports.

    Raises:
        Invalid: `component_derived`, `component_without_statistics`.
    """
    if rule not in OF_STATISTICS:
        return
    derived = [part.id for part in chosen if part.derived is not None]
    bare = [part.id for part in chosen if part.derived is None and not part.statistics]
    if derived:
        raise Invalid(
            "component_derived",
            f"components {', '.join(derived)} were derived from others and have no statistics of "
            f"data of their own, which rule {rule} adds: name their parents, or use average or "
            "weighted",
            components=derived,
        )
    if bare:
        raise Invalid(
            "component_without_statistics",
            f"components {', '.join(bare)} were imported from files without statistics, which rule "
            f"{rule} adds: use average or weighted, name the components without them, or import "
            "files with statistics",
            components=bare,
        )


def weigh(rule: str, chosen: Sequence[Weighted]) -> None:
    """Check that the rule can be used with these weights.

    Raises:
        Invalid: `unknown_rule`, `component_repeated` or `bad_weight`.
    """
    if rule not in RULES:
        raise Invalid(
            "unknown_rule", f"no rule is called {rule!r}; choose one of {', '.join(RULES)}"
        )
    seen = set()
    for component_id, weight in chosen:
        if component_id in seen:
            raise Invalid("component_repeated", f"component {component_id} is named twice")
        seen.add(component_id)
        if fault := weight_fault(rule, weight):
            shown = "no weight" if weight is None else f"weight {weight!r}"
            where = f"component {component_id} has {shown}, but rule {rule}"
            raise Invalid("bad_weight", f"{where} {fault}")
    if chosen and all(weight == 0 for _, weight in chosen):
        needed = "above 0" if rule in OF_STATISTICS else "other than 0"
        raise Invalid("bad_weight", f"rule {rule} needs one weight {needed}")
