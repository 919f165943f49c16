"""Attributions of a prediction's answers: what the components gave, and what they would give."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.inference import attribution, directions
from app.inference.opened_spaces import source_of
from app.parts import Parts
from app.store.compositions import Selection
from tangent_composer.schemas.predictions import PredictionQuery

ATTRIBUTING = attribution.OF_WEIGHTS | {directions.DIRECTIONS}


def is_attributed(query: PredictionQuery) -> bool:
    """Return whether the answers are taken apart."""
    return bool(ATTRIBUTING & set(query.return_))


def check_attributions(
    parts: Parts, selection: Selection, query: PredictionQuery, images: int
) -> None:
    """Refuse attributions that cost too much, and those that the rule does not have.

    Raises:
        Invalid: `too_many_attributions`, `too_many_directions`, `rule_not_linear`.
    """
    if not is_attributed(query):
        return
    attribution.check_cost(len(selection.members), images, parts.settings)
    if directions.DIRECTIONS in query.return_:
        directions.check(selection, query, images, parts.settings)


def add_attributions(
    parts: Parts,
    selection: Selection,
    query: PredictionQuery,
    inputs: Sequence[Any],
    answers: list[dict[str, Any]],
    temperature: float | None,
) -> None:
    """Add to every image's answer the attributions that the query requests."""
    size = 1 if query.deterministic else len(inputs)
    for start in range(0, len(inputs), size):
        some = slice(start, start + size)
        for fields in _fields(parts, selection, query, inputs[some], answers[some], temperature):
            for answer, more in zip(answers[some], fields, strict=True):
                answer.update(more)


def _fields(
    parts: Parts,
    selection: Selection,
    query: PredictionQuery,
    inputs: Sequence[Any],
    answers: Sequence[dict[str, Any]],
    temperature: float | None,
) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the fields of all images, for each computation that the query needs."""
    ids = [part.id for part, _ in selection.members]
    if attribution.OF_WEIGHTS & set(query.return_):
        model = parts.spaces.model(selection.space, selection.members, selection.rule)
        found = parts.engine.attribution(model, inputs)
        ranked = [answer["predictions"] for answer in answers]
        yield attribution.attributions(found, ids, query, ranked, temperature)
    if directions.DIRECTIONS in query.return_:
        labels = directions.labels_of(selection, query)
        sources = [source_of(part) for part, _ in selection.members]
        key = parts.spaces.key(selection.space)
        effects = parts.engine.effects(key, sources, inputs, labels)
        yield directions.directions(effects, ids, labels)
