"""Invalidation of what was made with data that goes or changes.

It is solved weights, evaluations and batch predictions: also those that are queued, and those that
some process is computing now, which then cannot publish anything.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session

from app.database.chunks import chunks
from app.database.tables import (
    BatchPrediction,
    BatchPredictionMember,
    Composition,
    CompositionMember,
    Evaluation,
    EvaluationAnswers,
    EvaluationMember,
    Space,
    now,
)
from app.passes import batch_predictions
from app.passes.queue import INVALIDATED, UNAVAILABLE, Pass
from app.receipts.body import ChangedComposition, Invalidated, Removed
from app.store import compositions, fitted_weights
from app.unlearning.change import Change

MEMBERS: dict[type[Pass], Any] = {
    Evaluation: (EvaluationMember, EvaluationMember.evaluation_id),
    BatchPrediction: (BatchPredictionMember, BatchPredictionMember.batch_prediction_id),
}


class Invalidation(NamedTuple):
    """The results that were invalidated, for the receipt, and the files that go with them."""

    invalidated: Invalidated
    files: list[str]  # keys of blobs that no row names any more
    removed: list[Removed]


def invalidate(session: Session, change: Change) -> Invalidation:
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
    found: dict[type[Pass], list[Any]] = {}
    for table in MEMBERS:
        found[table] = _using(session, table, using, dataset_id, change.space)
    files, removed = _files(found[BatchPrediction])
    ids = {
        table: tuple(row.id for row in rows if row.status != INVALIDATED)
        for table, rows in found.items()
    }
    for row in (*found[Evaluation], *found[BatchPrediction]):
        _clear(row, using, change.receipt_id)
    session.flush()
    _delete_answers(session, [row.id for row in found[Evaluation]])
    for table in MEMBERS:
        _forget_unavailable(session, table, gone)
    invalidated = Invalidated(
        compositions=tuple(changed_rows),
        solved_weights=tuple(unsolved),
        evaluations=ids[Evaluation],
        batch_predictions=ids[BatchPrediction] or None,
    )
    return Invalidation(invalidated, files, removed)


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


def _using(
    session: Session,
    table: type[Pass],
    ids: Sequence[str],
    dataset_id: str | None,
    space: Space | None,
) -> list[Any]:
    """Lock and return the passes that use one of the components, the dataset or the space, by id.

    A pass uses the dataset of its images, and the one that its weights were fitted to.

    Whatever their status: one that has failed may name in its error what is deleted.
    """
    member, of = MEMBERS[table]
    condition: ColumnElement[bool] = table.id.in_(
        select(of).where(member.component_id.in_(ids), member.used)
    )
    if dataset_id is not None:
        condition = or_(condition, table.dataset_id == dataset_id, table.fitted_to == dataset_id)
    if space is not None:
        condition = or_(condition, table.space == space.name)
    query = select(table).where(condition).order_by(table.id).with_for_update()
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _clear(row: Any, ids: Sequence[str], receipt_id: str) -> None:
    """Take out of a pass whatever was made with these components or its dataset.

    One that was invalidated before may still name a component; its receipt stays the first one.
    """
    row.selection = row.selection | {"components": _kept(row.selection, ids)}
    if row.status != INVALIDATED:
        row.status, row.invalidated_by = INVALIDATED, receipt_id
    row.model = row.error = row.holder = row.fitted_to = row.split = None
    row.total = row.done = 0
    if row.finished_at is None:
        row.finished_at = now()
    if isinstance(row, Evaluation):
        row.result = None
    else:
        row.archive_key = row.jsonl_key = row.csv_key = None
        row.jsonl_sha256 = row.csv_sha256 = row.bytes = None
        row.num_errors = 0


def _delete_answers(session: Session, ids: Sequence[str]) -> None:
    for some in chunks(ids):
        mine = EvaluationAnswers.evaluation_id.in_(some)
        session.execute(delete(EvaluationAnswers).where(mine))


def _files(rows: Sequence[BatchPrediction]) -> tuple[list[str], list[Removed]]:
    """Return the keys of the rows' blobs, and what a receipt says of them."""
    keys = [key for row in rows for key in batch_predictions.keys_of(row)]
    size = sum(row.bytes or 0 for row in rows)
    removed = [Removed(kind="batch_prediction_files", count=len(keys), bytes=size)] if keys else []
    return keys, removed


def _forget_unavailable(session: Session, table: type[Pass], gone: Sequence[str]) -> None:
    """Take these components out of passes that were made without them, and stay valid."""
    member, of = MEMBERS[table]
    using = select(of).where(member.component_id.in_(gone), member.used.is_(False))
    rows: list[Any] = list(session.scalars(select(table).where(table.id.in_(using))))
    for row in rows:
        missed = row.selection[UNAVAILABLE]
        kept = [part for part in missed if part["id"] not in gone]
        row.selection = row.selection | {UNAVAILABLE: kept}
    session.flush()


def _kept(selection: dict[str, Any], ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the components of an evaluated selection that do not depend on these."""
    if selection.get("rule") == "weighted":
        return []  # the others' weights may have been fitted with these
    return [part for part in selection.get("components", []) if part["id"] not in ids]
