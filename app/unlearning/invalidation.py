"""What was fitted to or measured on data that goes or changes: solved weights and evaluations.

    invalidated = invalidations.of(session, ids, dataset_id, receipt_id, gone=True)

The one place that a deletion and a change of a component's content have in common.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.store import compositions, fitted_weights
from app.store.tables import Evaluation, EvaluationMember, now


def of(
    session: Session, ids: Sequence[str], dataset_id: str | None, receipt_id: str, *, gone: bool
) -> dict[str, Any]:
    """Invalidate all that used one of the components or the dataset; what that was.

    `gone`: the components themselves go, and so leave their compositions; else their content has
    changed, and compositions that were not solved for keep them.
    """
    changed, unsolved = _compositions(session, ids, dataset_id, receipt_id, gone)
    return {
        "compositions": changed,
        "solved_weights": unsolved,
        "evaluations": _evaluations(session, ids, dataset_id, receipt_id),
    }


def both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What two invalidations of one transaction came to, the first one first."""
    changed = {each["name"]: each for each in one["compositions"]}
    for each in other["compositions"]:
        earlier = changed.get(each["name"], each)
        changed[each["name"]] = each | {"old_etag": earlier["old_etag"]}
    lists = ("solved_weights", "evaluations")
    merged = {name: sorted({*one[name], *other[name]}) for name in lists}
    return {"compositions": [changed[name] for name in sorted(changed)]} | merged


def _compositions(
    session: Session, ids: Sequence[str], dataset_id: str | None, receipt_id: str, gone: bool
) -> tuple[list[dict[str, str]], list[str]]:
    """Take the components out of every composition, and what was fitted with them.

    The compositions with both versions, and the names of those whose solved weights are gone.
    """
    changed, unsolved = [], []
    for row, was_solved in fitted_weights.concerned(session, ids, dataset_id):
        if not gone and not was_solved:
            continue
        old = compositions.etag(row)
        if gone:
            row.members[:] = [member for member in row.members if member.component_id not in ids]
        if was_solved:
            fitted_weights.invalidate(row, receipt_id)
            unsolved.append(row.name)
        row.updated_at = now()
        changed.append({"name": row.name, "old_etag": old, "new_etag": compositions.etag(row)})
    session.flush()
    return changed, unsolved


def _evaluations(
    session: Session, ids: Sequence[str], dataset_id: str | None, receipt_id: str
) -> list[str]:
    """Wipe every evaluation that used one of the components or the dataset; their ids."""
    using = select(EvaluationMember.evaluation_id).where(EvaluationMember.component_id.in_(ids))
    condition: ColumnElement[bool] = Evaluation.id.in_(using)
    if dataset_id is not None:
        condition = or_(condition, Evaluation.dataset_id == dataset_id)
    rows = list(session.scalars(select(Evaluation).where(condition).order_by(Evaluation.id)))
    for row in rows:
        row.selection = row.selection | {"components": _kept(row.selection, ids)}
        row.result, row.status, row.invalidated_by = None, "invalidated", receipt_id
    session.flush()
    return [row.id for row in rows]


def _kept(selection: dict[str, Any], ids: Sequence[str]) -> list[dict[str, Any]]:
    """The parts of an evaluated selection that can still be told of."""
    if selection.get("rule") == "weighted":
        return []  # the others' weights may have been solved for with these
    return [part for part in selection.get("components", []) if part["id"] not in ids]
