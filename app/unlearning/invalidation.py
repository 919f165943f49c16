"""Invalidation of solved weights and evaluations that were made with data that goes or changes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.database.tables import Composition, CompositionMember, Evaluation, EvaluationMember, now
from app.receipts.body import ChangedComposition, Invalidated
from app.store import compositions, fitted_weights
from app.store.evaluations import UNAVAILABLE
from app.unlearning.change import Change


def invalidate(session: Session, change: Change) -> Invalidated:
    """Invalidate all that used one of the components or the dataset.

    Removed components leave their compositions. Components of a dataset that stays keep their
    membership, but weights that were fitted with them go.
    """
    gone = [row.id for row in change.components]
    edit = change.edit
    changed = [row.id for row in edit.components] if edit else []
    dataset = edit.dataset if edit else change.dataset
    using, dataset_id = [*changed, *gone], dataset.id if dataset else None
    changed_rows, unsolved = _compositions(session, using, gone, dataset_id, change.receipt_id)
    evaluations = _evaluations(session, using, dataset_id, change.receipt_id)
    _forget_unavailable(session, gone)
    return Invalidated(
        compositions=tuple(changed_rows),
        solved_weights=tuple(unsolved),
        evaluations=tuple(evaluations),
    )


def _compositions(
    session: Session,
    using: Sequence[str],
    gone: Sequence[str],
    dataset_id: str | None,
    receipt_id: str,
) -> tuple[list[ChangedComposition], list[str]]:
    """Return the changed compositions, and the names of those that lost fitted weights."""
    changed, unsolved = [], []
    for row in _locked(session, using, dataset_id):
        was_solved = fitted_weights.held(row)
        kept = [member for member in row.members if member.component_id not in gone]
        if len(kept) == len(row.members) and not was_solved:
            continue
        old = compositions.etag(row)
        if len(kept) < len(row.members):
            row.members[:] = kept
        if was_solved:
            fitted_weights.invalidate(row, receipt_id)
            unsolved.append(row.name)
        row.updated_at = now()
        new = compositions.etag(row)
        changed.append(ChangedComposition(name=row.name, old_etag=old, new_etag=new))
    session.flush()
    return changed, unsolved


def _locked(session: Session, ids: Sequence[str], dataset_id: str | None) -> list[Composition]:
    """Lock and return the compositions with one of the components or fitted to the dataset."""
    members = select(CompositionMember.composition).where(CompositionMember.component_id.in_(ids))
    using: ColumnElement[bool] = Composition.name.in_(members)
    if dataset_id is not None:
        using = or_(using, Composition.solved["dataset_id"].as_string() == dataset_id)
    query = select(Composition).where(using).order_by(Composition.name).with_for_update()
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _evaluations(
    session: Session, ids: Sequence[str], dataset_id: str | None, receipt_id: str
) -> list[str]:
    """Clear every evaluation that used one of the components or the dataset; return their ids."""
    used = EvaluationMember.component_id.in_(ids), EvaluationMember.used
    using = select(EvaluationMember.evaluation_id).where(*used)
    condition: ColumnElement[bool] = Evaluation.id.in_(using)
    if dataset_id is not None:
        condition = or_(condition, Evaluation.dataset_id == dataset_id)
    rows = list(session.scalars(select(Evaluation).where(condition).order_by(Evaluation.id)))
    for row in rows:
        row.selection = row.selection | {"components": _kept(row.selection, ids)}
        row.result, row.status, row.invalidated_by = None, "invalidated", receipt_id
    session.flush()
    return [row.id for row in rows]


def _forget_unavailable(session: Session, gone: Sequence[str]) -> None:
    """Take these components out of evaluations that were made without them, and stay valid."""
    mine = EvaluationMember.component_id.in_(gone), EvaluationMember.used.is_(False)
    using = select(EvaluationMember.evaluation_id).where(*mine)
    for row in session.scalars(select(Evaluation).where(Evaluation.id.in_(using))):
        missed = row.selection[UNAVAILABLE]
        kept = [part for part in missed if part["id"] not in gone]
        row.selection = row.selection | {UNAVAILABLE: kept}
    session.flush()


def _kept(selection: dict[str, Any], ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the components of an evaluated selection that do not depend on these."""
    if selection.get("rule") == "weighted":
        return []  # the others' weights may have been fitted with these
    return [part for part in selection.get("components", []) if part["id"] not in ids]
