"""Fitted weights: a composition's weights fitted to a dataset, until a deletion invalidates them.

Fitted weights hold information about the dataset and every component. So when one of them is
deleted, the weights go, and the remaining components count equally: rule `average`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.database.sessions import hold_write_lock
from app.database.tables import Composition, Dataset
from app.errors import Conflict
from app.store import compositions
from app.store.members import require_unchanged

SETTINGS = ("objective", "l2", "constraint")  # the settings that stay after an invalidation


def store(
    session: Session,
    name: str,
    *,
    etag: str,
    selection: Mapping[str, Any],
    weights: Sequence[float],
    dataset: Dataset,
    solved: Mapping[str, Any],
) -> Composition:
    """Give the composition these weights, if nothing has changed since they were fitted.

    `selection` is what was used, its components in the order of the weights; `dataset` the row as
    it was then; `solved` has its id, the settings and what came out.

    Raises:
        Gone: the composition's component's, or the dataset's.
        Conflict: `selection_changed` if the composition or a component is another one by now,
            `dataset_changed` if the dataset is.
        NotFound: as `compositions.get`.
    """
    hold_write_lock(session)
    require_unchanged(session, selection["components"], dataset)
    row = compositions.get(session, name)
    session.refresh(row, with_for_update=True)
    if compositions.etag(row) != etag:
        raise Conflict(
            "selection_changed",
            f"composition {name!r} changed while its weights were solved for: solve again",
        )
    ids = [part["id"] for part in selection["components"]]
    compositions.set_members(row, dict(zip(ids, weights, strict=True)))
    row.rule, row.everything = "weighted", False
    row.solved = {"status": "ready", "invalidated_by": None} | dict(solved)
    session.flush()
    return row


def fitted_to(session: Session, selection: Mapping[str, Any]) -> str | None:
    """Return the dataset that the weights of a selection were fitted to, if any were.

    Raises:
        Conflict: `selection_changed` if its composition has other weights by now.
    """
    named = selection["composition"]
    if named is None or selection["rule"] != "weighted":
        return None
    row = session.get(Composition, named["name"], populate_existing=True)
    members = row.members if row is not None else []
    weights = {each.component_id: 1.0 if each.weight is None else each.weight for each in members}
    if row is None or any(weights.get(p["id"]) != p["weight"] for p in selection["components"]):
        raise Conflict(
            "selection_changed",
            f"composition {named['name']!r} changed in the meantime: ask again",
        )
    return str((row.solved or {})["dataset_id"]) if held(row) else None


def held(row: Composition) -> bool:
    """Return True if the composition has valid fitted weights."""
    return row.solved is not None and row.solved["status"] == "ready"


def invalidate(row: Composition, receipt_id: str | None) -> None:
    """Remove the weights and all results of fitting them; None: the space was retrained."""
    solved = row.solved or {}
    kept = {name: solved.get(name) for name in SETTINGS}
    row.solved = kept | {"status": "invalidated", "invalidated_by": receipt_id}
    row.rule = "average"
    for member in row.members:
        member.weight = None
