"""Attribution: each component's contribution to an answer, and the answer without it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from app.errors import Invalid
from app.inference.models import Attributed
from app.inference.ranking import Fields, best_labels
from app.settings import Settings
from tangent_composer.labels import meant
from tangent_composer.schemas.answers import Contribution, Contributions
from tangent_composer.schemas.predictions import PredictionQuery

OF_WEIGHTS = {"contributions", "leave_one_out"}  # attributions at the selection's own weights


def check_cost(components: int, images: int, settings: Settings) -> None:
    """Refuse an attribution that costs too much: each component takes a pass of its own.

    Raises:
        Invalid: `too_many_attributions`.
    """
    most, pairs = settings.max_attributed_components, settings.max_attributions
    if components > most or components * images > pairs:
        raise Invalid(
            "too_many_attributions",
            f"contributions, leave_one_out and directions of {components} components for {images} "
            f"images are too many, the most are {most} components and {pairs} pairs of an image "
            "and a component: send fewer images at a time, or select fewer components",
        )


def attributions(
    found: Attributed,
    ids: Sequence[str],
    query: PredictionQuery,
    answers: Sequence[list[Fields]],
    temperature: float | None,
) -> Iterator[dict[str, Any]]:
    """Yield the attribution fields of every image's answer, in the images' order."""
    for image, answer in enumerate(answers):
        parts: dict[str, Any] = {}
        if "contributions" in query.return_:
            parts["contributions"] = _contributions(found, ids, image, answer)
        if "leave_one_out" in query.return_:
            parts["leave_one_out"] = _without_each(found, ids, image, query, temperature)
        yield parts


def _contributions(
    found: Attributed, ids: Sequence[str], image: int, answer: Sequence[Fields]
) -> Contributions:
    place = {label: column for column, label in enumerate(found.base.labels)}
    columns = {each["label"]: place[each["label"]] for each in answer}

    def of(logits: Any) -> dict[str, float]:
        row = logits[image].tolist()
        return {label: row[column] for label, column in columns.items()}

    return Contributions(
        base=of(found.base.logits),
        components=[
            Contribution(id=component_id, logits=of(share))
            for component_id, share in zip(ids, found.shares, strict=True)
        ],
    )


def _without_each(
    found: Attributed,
    ids: Sequence[str],
    image: int,
    query: PredictionQuery,
    temperature: float | None,
) -> list[Fields]:
    known_labels = frozenset(found.base.labels)
    wanted = None if query.labels is None else {meant(each, known_labels) for each in query.labels}
    answers: list[Fields] = []  # of a WithoutOne each, without the numbers that nobody wants
    for component_id, rest in zip(ids, found.rests, strict=True):
        best = None
        if rest is not None:
            known = [
                column
                for column, label in enumerate(rest.labels)
                if wanted is None or label in wanted
            ]
            logits = rest.logits[image].astype(np.float32)  # the type of a prediction's logits
            best = best_labels(logits, rest.labels, known, query, temperature)
        answers.append({"id": component_id, "predictions": best})
    return answers
