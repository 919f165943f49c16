"""Rankings: the best labels of an image with their logits and probabilities."""

from collections.abc import Sequence

import numpy as np

from app.errors import Invalid
from app.schemas.predictions import PredictionQuery, Ranked
from tangent.components.labels import meant

MAX_NAMED = 1000  # labels in one error


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


def rankings(
    logits: np.ndarray, labels: Sequence[str], wanted: Sequence[int], query: PredictionQuery
) -> list[list[Ranked]]:
    """Return every image's best labels, see `best_labels`."""
    return [best_labels(row, labels, wanted, query) for row in logits]


def best_labels(
    logits: np.ndarray, labels: Sequence[str], wanted: Sequence[int], query: PredictionQuery
) -> list[Ranked]:
    """Return one image's best labels with the numbers that the query requests; ties go by label.

    The probabilities are the softmax over all wanted columns, also those not shown.
    """
    if not wanted:
        return []
    values = logits[wanted]
    probabilities = softmax(values)
    order = sorted(range(len(wanted)), key=lambda i: (-values[i], labels[wanted[i]]))
    best = []
    for place in order[: query.top_k]:
        numbers: dict[str, float] = {}
        if "probabilities" in query.return_:
            numbers["probability"] = float(probabilities[place])
        if "logits" in query.return_:
            numbers["logit"] = float(values[place])
        best.append(Ranked(label=labels[wanted[place]], **numbers))
    return best


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of one image's logits, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()
