"""Previews: the effects of a component's deletion, found without deleting anything."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, distinct, func, or_, select
from sqlalchemy.orm import Session

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
    Space,
)
from app.datasets import datasets, privacy_ledger
from app.datasets.training_images import count_in
from app.datasets.training_overlap import training_overlap
from app.errors import ClientLeft, Invalid, NotReady
from app.files.blobs import LocalBlobs
from app.inference.deletion_gate import Ticket
from app.inference.models import Model
from app.inference.selection import read_consistently
from app.operations.dataset_pass import Source, dataset_pass
from app.parts import Parts
from app.passes.queue import INVALIDATED
from app.store import components, fitted_weights, lineage
from app.store.compositions import Selection
from app.store.members import in_all
from app.unlearning import also_held
from tangent_composer.schemas.predictions import SelectionQuery
from tangent_composer.schemas.previews import (
    AnswersOut,
    ChangedComposition,
    LabelChange,
    PreviewOut,
)
from tangent_composer.schemas.training_overlap import overlap_fields

RETRY_SECONDS = 5


class Images(NamedTuple):
    """The images to try answers on: those of a dataset, or of one split of it."""

    dataset: Dataset
    split: str | None


def preview_deletion(
    parts: Parts,
    ticket: Ticket,
    component_id: str,
    dataset_id: str | None,
    split: str | None = None,
) -> PreviewOut:
    """Return the preview; with a dataset, also the answers to its images before and after.

    Raises:
        Conflict: `component_not_ready` for the answers of a component that is not ready.
        Invalid: `split_empty`, `preview_too_large`.
        NotReady: `previews_busy` while as many datasets are passed through as may be at a time.
        TooManyRequests: `rate_limited`.
        ClientLeft: `client_left`.
        NotFound, Gone: as `components.get` and `datasets.get`.
    """
    with transaction(parts.reading) as session:
        preview = preview_rows(session, parts.blobs, component_id)
        dataset = datasets.get(session, dataset_id) if dataset_id else None
        if dataset is not None:
            privacy_ledger.require_private(dataset, "a preview")
    if dataset is not None:
        images = Images(dataset, split)
        number = _number(parts, images)
        with _turn(parts):
            parts.count_images(2 * number)  # with the component and without
            preview.answers = _answers(parts, ticket, component_id, preview.space, images)
    return preview


def _number(parts: Parts, images: Images) -> int:
    number, most = count_in(images.dataset, images.split), parts.settings.max_report_images
    if number > most:
        raise Invalid(
            "preview_too_large",
            f"{number} images are more than the {most} that a preview answers: name one split of "
            f"dataset {images.dataset.id}, as ?split=test, or compare two evaluations, with the "
            "component and without (POST /v1/evaluations), or have the operator raise "
            "TANGENT_MAX_REPORT_IMAGES",
        )
    return number


@contextmanager
def _turn(parts: Parts) -> Iterator[None]:
    if not parts.previewing.acquire(blocking=False):  # whoever waits here holds a thread
        raise NotReady(
            "previews_busy",
            "other previews pass the images of their datasets through the network: try again, or "
            "ask without dataset_id",
            retry_after=RETRY_SECONDS,
        )
    try:
        yield
    finally:
        parts.previewing.release()


def preview_rows(session: Session, blobs: LocalBlobs, component_id: str) -> PreviewOut:
    """Return the preview of the rows for a component of any status, without answers.

    Raises:
        NotFound, Gone: as `components.get`.
    """
    row = components.get(session, component_id)
    derived = lineage.descendants(session, [component_id])
    gone = [component_id, *derived]
    return PreviewOut(
        component_id=component_id,
        space=row.space,
        derived=derived,
        labels_gone=_labels_gone(session, row, gone),
        compositions=_compositions(session, row, gone),
        evaluations=_passes(session, Evaluation, EvaluationMember.evaluation_id, gone),
        batch_predictions=_passes(
            session, BatchPrediction, BatchPredictionMember.batch_prediction_id, gone
        ),
        also_held=also_held.of_component(session, blobs, row),
        answers=None,
    )


def _labels_gone(session: Session, row: Component, gone: list[str]) -> list[str]:
    query = select(Component.id, Component.labels).where(
        Component.space == row.space, Component.status == "ready"
    )
    brought, kept = set[str](), set(session.get_one(Space, row.space).declared_labels)
    for component_id, labels in session.execute(query):
        (brought if component_id in gone else kept).update(labels)
    return sorted(brought - kept)


def _compositions(session: Session, row: Component, gone: list[str]) -> list[ChangedComposition]:
    members = select(CompositionMember.composition).where(CompositionMember.component_id.in_(gone))
    using: ColumnElement[bool] = Composition.name.in_(members)
    if row.status == "ready" and row.derived is None:  # the component is one of all
        using = or_(using, Composition.everything & (Composition.space == row.space))
    count = select(func.count()).where(
        Component.id != row.id, Component.space == row.space, *in_all()
    )
    others = session.scalar(count) or 0
    rows = session.scalars(select(Composition).where(using).order_by(Composition.name))
    return [
        ChangedComposition(
            name=composition.name,
            named=not composition.everything,
            solved_weights_lost=fitted_weights.held(composition),
            components_left=others
            if composition.everything
            else sum(member.component_id not in gone for member in composition.members),
        )
        for composition in rows
    ]


def _passes(session: Session, table: Any, of: Any, gone: list[str]) -> int:
    """Return how many evaluations, or batch predictions, would be invalidated with these."""
    member = of.class_
    query = select(func.count(distinct(table.id))).join(member, of == table.id)
    members = member.component_id.in_(gone), member.used
    return session.scalar(query.where(*members, table.status != INVALIDATED)) or 0


def _answers(
    parts: Parts, ticket: Ticket, component_id: str, space: str, images: Images
) -> AnswersOut:
    # Only the composing keeps deletions waiting, not the long pass over the images.
    ticket.enter()
    with transaction(parts.reading) as session:
        components.ready(session, component_id)
    selection, before, after = read_consistently(
        parts.reading,
        parts.engine,
        SelectionQuery(space=space),
        lambda selection: (selection, *_composed(parts, selection, component_id)),
        sessions=parts.sessions,
        blobs=parts.blobs,
        selections=parts.selections,
    )
    ticket.leave()
    if all(part.id != component_id for part, _ in selection.members):
        with transaction(parts.reading) as session:  # deleted by another process just now
            components.ready(session, component_id)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def both(pixels: list[Any]) -> tuple[list[Any], list[Any]]:
        _check_client(ticket)
        return _first_labels(parts, pixels, before), _first_labels(parts, pixels, after)

    source = Source.of(selection, images.dataset, images.split)
    for rows, (old, new) in dataset_pass(parts, source, both):
        for row, old_label, new_label in zip(rows, old, new, strict=True):
            counts[row.label].update(
                {
                    "images": 1,
                    "flipped": int(old_label != new_label),
                    "before": int(old_label == row.label),
                    "after": int(new_label == row.label),
                }
            )
    answers = _summed(selection.rule, images, counts, answered=after is not None)
    ids = [part.id for part, _ in selection.members]
    return _with_overlap(parts, answers, ids, images, selection.space.name)


def _check_client(ticket: Ticket) -> None:
    if ticket.has_left:
        raise ClientLeft("client_left", "the client has left before its preview was made")


def _with_overlap(
    parts: Parts, answers: AnswersOut, component_ids: list[str], images: Images, space: str
) -> AnswersOut:
    """Return the answers with the number of images that the components were trained on."""
    with transaction(parts.reading) as session:
        overlap = training_overlap(session, component_ids, images.dataset.id, images.split, space)
    return answers.model_copy(update=overlap_fields(overlap.among(), answers.num_images))


def _composed(parts: Parts, selection: Selection, component_id: str) -> tuple[Model, Model | None]:
    """Compose the space's answer as it is served, and that of all other components together."""
    rest = [(part, weight) for part, weight in selection.members if part.id != component_id]
    after = parts.spaces.model(selection.space, rest, selection.rule) if rest else None
    before = parts.spaces.model(selection.space, *selection.served)
    for model in (before, after):
        if model is not None:
            parts.engine.compose(model)
    return before, after


def _first_labels(parts: Parts, pixels: list[Any], model: Model | None) -> list[Any]:
    """Return the first label of every image; None where no component is left to answer."""
    if model is None:
        return [None] * len(pixels)
    passed = parts.engine.run(model, pixels)
    return [passed.labels[column] for column in passed.logits.argmax(axis=1)]


def _summed(
    rule: str, images: Images, counts: dict[str, Counter[str]], *, answered: bool
) -> AnswersOut:
    def change(count: Counter[str]) -> dict[str, Any]:
        number = count["images"]
        return {
            "num_images": number,
            "flipped": count["flipped"],
            "accuracy_before": count["before"] / number,
            "accuracy_after": count["after"] / number if answered else None,
        }

    total: Counter[str] = sum(counts.values(), Counter())
    labels = {label: LabelChange(**change(counts[label])) for label in sorted(counts)}
    return AnswersOut(
        dataset_id=images.dataset.id,
        split=images.split,
        rule=rule,
        labels=labels,
        **change(total),
    )
