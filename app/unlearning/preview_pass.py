"""What deleting a component would change, found out without deleting anything."""

from collections import Counter, defaultdict
from typing import Any

from app.evaluation.dataset_pass import walk
from app.inference.deletion_gate import Ticket
from app.inference.engine import Engine
from app.inference.selection import steady
from app.parts import Parts
from app.schemas.predictions import Selection as Asked
from app.schemas.previews import AnswersOut, LabelChange, PreviewOut
from app.store import components, datasets
from app.store.compositions import Selection
from app.store.db import transaction
from app.store.tables import Dataset
from app.unlearning import preview
from tangent import Delta

CHUNK = 64  # images in memory at a time


def preview_deletion(
    parts: Parts, ticket: Ticket, component_id: str, dataset_id: str | None
) -> PreviewOut:
    """The preview; the answers before and after only with a dataset to try them on.

    Raises:
        Conflict: `component_not_ready` for the answers of one that answers nothing.
        NotFound, Gone: the component's or the dataset's.
    """
    with transaction(parts.reading) as session:
        found = preview.of(session, component_id)
        dataset = datasets.get(session, dataset_id) if dataset_id else None
    answers = _answers(parts, ticket, component_id, found.space, dataset) if dataset else None
    return PreviewOut(
        component_id=component_id,
        space=found.space,
        derived=found.derived,
        labels_gone=found.labels_gone,
        compositions=found.compositions,
        evaluations=found.evaluations,
        answers=answers,
    )


def _answers(
    parts: Parts, ticket: Ticket, component_id: str, space: str, dataset: Dataset
) -> AnswersOut:
    # Only the composing keeps deletions waiting, not the long way after it.
    ticket.enter()
    with transaction(parts.reading) as session:
        components.ready(session, component_id)
    selection, before, after = steady(
        parts.reading,
        parts.engine,
        Asked(space=space),
        lambda selection: (selection, *_composed(parts.engine, selection, component_id)),
    )
    ticket.leave()
    if all(part.id != component_id for part, _ in selection.members):
        with transaction(parts.reading) as session:  # deleted by another process just now
            components.ready(session, component_id)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    walked = walk(parts.engine, parts.blobs, parts.reading, selection, dataset, chunk=CHUNK)
    for rows, inputs in walked:
        old = _best(parts.engine, selection, inputs, before)
        new = _best(parts.engine, selection, inputs, after)
        for row, one, other in zip(rows, old, new, strict=True):
            counts[row.label].update(
                {
                    "images": 1,
                    "flipped": int(one != other),
                    "before": int(one == row.label),
                    "after": int(other == row.label),
                }
            )
    return _summed(selection.rule, dataset.id, counts, answered=after is not None)


def _composed(
    engine: Engine, selection: Selection, component_id: str
) -> tuple[Delta, Delta | None]:
    """The space's answer as it is served, and that of all other components at once after."""
    rest = [(part, weight) for part, weight in selection.members if part.id != component_id]
    space, rule = selection.space, selection.rule
    after = engine.delta(space, rest, rule) if rest else None
    return engine.delta(space, *selection.served), after


def _best(
    engine: Engine, selection: Selection, inputs: list[Any], delta: Delta | None
) -> list[Any]:
    """Every image's first label; None where nothing is left to answer."""
    if delta is None:
        return [None] * len(inputs)
    columns = engine.logits(selection.space, inputs, delta).argmax(axis=1)
    return [delta.labels[column] for column in columns]


def _summed(
    rule: str, dataset_id: str, counts: dict[str, Counter[str]], *, answered: bool
) -> AnswersOut:
    def change(found: Counter[str]) -> dict[str, Any]:
        images = found["images"]
        return {
            "num_images": images,
            "flipped": found["flipped"],
            "accuracy_before": found["before"] / images,
            "accuracy_after": found["after"] / images if answered else None,
        }

    total: Counter[str] = sum(counts.values(), Counter())
    labels = {label: LabelChange(**change(counts[label])) for label in sorted(counts)}
    return AnswersOut(dataset_id=dataset_id, rule=rule, labels=labels, **change(total))
