"""Previews: the effects of deleting a dataset, or one of its images, without deleting anything.

They are read from the rows that the deletion itself would lock, see app.unlearning.change.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, distinct, func, or_, select
from sqlalchemy.orm import Session

from app.access import callers
from app.database.sessions import transaction
from app.database.tables import (
    BatchPrediction,
    BatchPredictionMember,
    Component,
    Composition,
    CompositionMember,
    Dataset,
    Evaluation,
    EvaluationMember,
    Image,
    Space,
)
from app.datasets import datasets
from app.datasets.training_images import label_counts, training_only
from app.inference.engines import AnyEngine
from app.parts import Parts
from app.passes.queue import INVALIDATED
from app.store import fitted_weights, lineage
from app.store.members import in_all
from app.unlearning import change_plan
from app.unlearning.change_plan import Plan
from app.unlearning.changed_files import is_downdatable
from tangent_composer.schemas.datasets import SharingDataset
from tangent_composer.schemas.previews import (
    ChangedComposition,
    ComponentEffect,
    DatasetPreviewOut,
    LostLabels,
)

ENDED = ("failed", "cancelled")  # statuses of components that have no file to change
MAX_SHARING = 10


@dataclass(frozen=True)
class Effects:
    """The components that go, and those that stay and change."""

    gone: list[Component]
    kept: list[Component]
    effects: list[ComponentEffect]


def preview_dataset_deletion(parts: Parts, dataset_id: str) -> DatasetPreviewOut:
    """Return what goes with the dataset, as its deletion with `cascade` does it.

    Raises:
        NotFound, Gone: as `datasets.get`.
    """
    with transaction(parts.reading) as session:
        dataset = datasets.get(session, dataset_id)
        gone = _with_derived(session, _trained_from(session, dataset_id))
        removed = [ComponentEffect(id=row.id, outcome="removed") for row in gone]
        held = datasets.sharing(session, dataset_id, limit=MAX_SHARING)
        return _preview(
            session,
            dataset,
            Effects(gone, [], removed),
            image_id=None,
            num_images=dataset.num_images,
            also_held=[SharingDataset(dataset_id=id_, images=count) for id_, count in held],
            labels_gone=_labels_gone(session, gone, set()),
        )


def preview_image_deletion(parts: Parts, dataset_id: str, image_id: str) -> DatasetPreviewOut:
    """Return what becomes of the components of an image's dataset when the image is deleted.

    Raises:
        NotFound, Gone, Conflict: as `change_plan.removal`, which the deletion begins with.
    """
    with transaction(parts.reading) as session:
        plan = change_plan.removal(session, dataset_id, image_id)
        trained, image = _trained_from(session, dataset_id), plan.removed[0]
        every = _with_derived(session, trained) if plan.is_seen else []
        gone = [row for row in every if row.derived is not None]
        kept = [row for row in every if row.derived is None]
        effects = [ComponentEffect(id=row.id, outcome="removed") for row in gone]
        if plan.is_seen:
            spaces = {row.space: session.get_one(Space, row.space) for row in kept}
            effects += [
                _effect(parts.engine, row, spaces[row.space], plan)
                for row in kept
                if row.status not in ENDED
            ]
        else:
            ready = [row for row in trained if row.status == "ready"]
            effects += [ComponentEffect(id=row.id, outcome="unaffected") for row in ready]
        left = set(label_counts(session, plan.dataset, training_only(), Image.id != image_id))
        left.update(image.label for image in plan.regained)
        return _preview(
            session,
            plan.dataset,
            Effects(gone, kept, effects),
            image_id=image_id,
            num_images=1,
            also_held=_holding(session, image),
            labels_gone=_labels_gone(session, every, left),
        )


def _effect(engine: AnyEngine, row: Component, space: Space, plan: Plan) -> ComponentEffect:
    if row.status == "queued":
        return ComponentEffect(id=row.id, outcome="queued")
    if row.status != "ready" or not is_downdatable(engine, row, space):
        return ComponentEffect(id=row.id, outcome="retraining")
    return ComponentEffect(id=row.id, outcome="updated" if plan.regained else "down_dated")


def _preview(
    session: Session, dataset: Dataset, effects: Effects, **more: Any
) -> DatasetPreviewOut:
    gone = [row.id for row in effects.gone]
    using = [*gone, *(row.id for row in effects.kept)]
    passes = {
        "evaluations": (Evaluation, EvaluationMember.evaluation_id),
        "batch_predictions": (BatchPrediction, BatchPredictionMember.batch_prediction_id),
    }
    counts = {
        name: _passes(session, table, of, using, dataset.id) for name, (table, of) in passes.items()
    }
    return DatasetPreviewOut(
        dataset_id=dataset.id,
        components=sorted(effects.effects, key=lambda effect: effect.id),
        compositions=_compositions(session, effects, using, dataset.id),
        **counts,
        **more,
    )


def _trained_from(session: Session, dataset_id: str) -> list[Component]:
    query = select(Component).where(Component.dataset_id == dataset_id)
    return list(session.scalars(query.order_by(Component.id)))


def _with_derived(session: Session, rows: Sequence[Component]) -> list[Component]:
    derived = lineage.descendants(session, [row.id for row in rows])
    more = session.scalars(select(Component).where(Component.id.in_(derived)))
    found = {row.id: row for row in (*rows, *more)}
    return [found[id_] for id_ in sorted(found)]


def _labels_gone(
    session: Session, changed: Sequence[Component], left: Collection[str]
) -> list[LostLabels]:
    """Return the labels that only these components know in their spaces, but those that are left.

    `left` are the labels that components which stay will still be trained on.
    """
    ids, found = {row.id for row in changed}, []
    brought: defaultdict[str, set[str]] = defaultdict(set)
    for row in changed:
        if row.status == "ready":
            brought[row.space] |= set(row.labels)
    for space in sorted(each for each in brought if callers.sees(session, each)):
        kept = set(session.get_one(Space, space).declared_labels) | set(left)
        others = Component.space == space, Component.status == "ready"
        for id_, labels in session.execute(select(Component.id, Component.labels).where(*others)):
            kept |= set() if id_ in ids else set(labels)
        if gone := sorted(brought[space] - kept):
            found.append(LostLabels(space=space, labels=gone))
    return found


def _compositions(
    session: Session, effects: Effects, using: Collection[str], dataset_id: str
) -> list[ChangedComposition]:
    """Return the compositions that lose members or fitted weights, of those the caller sees."""
    gone = {row.id for row in effects.gone}
    of_all = {row.space for row in effects.gone if row.status == "ready" and row.derived is None}
    members = select(CompositionMember.composition).where(CompositionMember.component_id.in_(using))
    condition: ColumnElement[bool] = or_(
        Composition.name.in_(members),
        Composition.solved["dataset_id"].as_string() == dataset_id,
        Composition.everything & Composition.space.in_(of_all),
    )
    seen = callers.seen(session, Composition.space)
    rows = session.scalars(select(Composition).where(condition, *seen).order_by(Composition.name))
    shown = []
    for row in rows:
        lost = [each for each in row.members if each.component_id in gone]
        is_solved = fitted_weights.held(row)
        if lost or is_solved or row.everything:
            left = _left(session, row, gone)
            shown.append(
                ChangedComposition(
                    name=row.name,
                    named=not row.everything,
                    solved_weights_lost=is_solved,
                    components_left=left,
                )
            )
    return shown


def _left(session: Session, row: Composition, gone: Collection[str]) -> int:
    if not row.everything:
        return sum(each.component_id not in gone for each in row.members)
    others = Component.id.not_in(gone), Component.space == row.space, *in_all()
    return session.scalar(select(func.count()).where(*others)) or 0


def _passes(session: Session, table: Any, of: Any, using: Collection[str], dataset_id: str) -> int:
    """Return how many evaluations, or batch predictions, would be invalidated with these."""
    member = of.class_
    with_one = select(of).where(member.component_id.in_(using), member.used)
    condition = or_(
        table.id.in_(with_one), table.dataset_id == dataset_id, table.fitted_to == dataset_id
    )
    query = select(func.count(distinct(table.id))).where(condition)
    return session.scalar(query.where(table.status != INVALIDATED)) or 0


def _holding(session: Session, image: Image) -> list[SharingDataset]:
    """Return the datasets that the caller sees and that have the image's bytes elsewhere."""
    query = select(Image.dataset_id, func.count()).join(Dataset, Dataset.id == Image.dataset_id)
    same = Image.sha256 == image.sha256, Image.id != image.id
    query = query.where(*same, *callers.seen(session, Dataset.space)).group_by(Image.dataset_id)
    found = session.execute(query.order_by(Image.dataset_id).limit(MAX_SHARING))
    return [SharingDataset(dataset_id=id_, images=count) for id_, count in found]
