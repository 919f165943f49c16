"""Rankings: the best labels of an image with their logits and probabilities, and the answer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from app.errors import Conflict, Invalid
from app.inference.models import Calibrated, Passed
from tangent_composer.labels import meant
from tangent_composer.schemas.answers import Abstention
from tangent_composer.schemas.predictions import PredictionQuery, RankingQuery

MAX_NAMED = 1000  # labels in one error
Fields = dict[str, Any]  # of a schema, which is made once for a whole answer


def columns(labels: Sequence[str], wanted: Sequence[str] | None) -> list[int]:
    """Return the columns of the wanted labels in the labels' order; all if none are named.

    Raises:
        Invalid: `unknown_label`.
    """
    if wanted is None:
        return list(range(len(labels)))
    known_labels = frozenset(labels)
    chosen = {meant(label, known_labels) for label in wanted}
    unknown = sorted(chosen - known_labels)
    if unknown:
        known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
        raise Invalid(
            "unknown_label",
            f"the selected components do not know {', '.join(unknown[:5])}; they know: {known}",
            labels=unknown[:MAX_NAMED],
        )
    return [column for column, label in enumerate(labels) if label in chosen]


def answers(passed: Passed, wanted: Sequence[int], query: PredictionQuery) -> Iterator[Fields]:
    """Yield the ranking of every image, its answer, and how sure and how new it is.

    Raises:
        Conflict: `novelty_unknown`.
    """
    check_novelty(passed.calibration, query)
    temperature = passed.calibration and passed.calibration.temperature
    for image, logits in enumerate(passed.logits):
        best = best_labels(logits, passed.labels, wanted, query, temperature)
        novelty = None if passed.novelty is None else float(passed.novelty[image])
        between = margin(logits, wanted)
        reason = abstention(novelty, between, query)
        answer: Fields = {"label": None if reason or not best else best[0]["label"]}
        if reason:
            answer["abstention"] = reason
        if "novelty" in query.return_:
            answer["novelty"] = novelty
        yield answer | {"margin": between, "predictions": best}


def check_novelty(calibration: Calibrated | None, query: RankingQuery) -> None:
    """Check that there is a novelty, if the query abstains by it.

    Raises:
        Conflict: `novelty_unknown`.
    """
    if query.abstain_above is not None and calibration is not None and calibration.no_novelty:
        raise Conflict(
            "novelty_unknown",
            f"abstain_above needs the images' novelty, which is not known for this selection: "
            f"{calibration.no_novelty}",
        )


def margin(logits: np.ndarray, wanted: Sequence[int]) -> float | None:
    """Return the best wanted logit less the second one; None without a second."""
    if len(wanted) < 2:
        return None
    second, first = sorted(logits[wanted].tolist())[-2:]
    return float(first - second)


def abstention(
    novelty: float | None, margin: float | None, query: RankingQuery
) -> Abstention | None:
    """Return the reason for which the query has no label as an answer, if there is one."""
    if query.abstain_above is not None and novelty is not None and novelty > query.abstain_above:
        detail = f"its novelty {novelty:.4g} is above {query.abstain_above:g}"
        return Abstention(by="novelty", detail=detail)
    if query.abstain_below is not None and margin is not None and margin < query.abstain_below:
        detail = f"its margin {margin:.4g} is below {query.abstain_below:g}"
        return Abstention(by="margin", detail=detail)
    return None


def best_labels(
    logits: np.ndarray,
    labels: Sequence[str],
    wanted: Sequence[int],
    query: PredictionQuery,
    temperature: float | None = None,
) -> list[Fields]:
    """Return the fields of a `Ranked` of each of one image's best labels; ties go by label.

    They have the numbers that the query requests. The probabilities are the softmax over all wanted
    columns, also those not shown.
    """
    if not wanted:
        return []
    values = logits[wanted]
    probabilities = softmax(values, temperature)
    names = [labels[column] for column in wanted]
    places = range(len(names))
    ranked = sorted(zip((-values).tolist(), names, places, strict=True))[: query.top_k]
    has_probabilities, has_logits = "probabilities" in query.return_, "logits" in query.return_
    best = []
    for negated, label, place in ranked:
        fields: Fields = {"label": label}
        if has_probabilities:
            fields["probability"] = float(probabilities[place])
        if has_logits:
            fields["logit"] = -negated
        best.append(fields)
    return best


def softmax(logits: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """Return the probabilities of one image's logits, in float64."""
    # The ufuncs themselves: the methods of arrays take as long again for so few numbers.
    highest = np.maximum.reduce(logits)
    powers = np.exp((logits.astype(np.float64) - highest) / (temperature or 1.0))
    return powers / np.add.reduce(powers)
