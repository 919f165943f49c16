"""From logits to a ranking: which labels, in which order, with which probability."""

from collections.abc import Sequence

import numpy as np

from app.errors import Invalid

MAX_NAMED = 1000  # labels in one error


def columns(labels: Sequence[str], wanted: Sequence[str] | None) -> list[int]:
    """The columns of the wanted labels, in the labels' own order; of all if none are named.

    Raises:
        Invalid: `unknown_label`.
    """
    if wanted is None:
        return list(range(len(labels)))
    unknown = sorted(set(wanted) - set(labels))
    if unknown:
        known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
        raise Invalid(
            "unknown_label",
            f"the selected components do not know {', '.join(unknown[:5])}; they know: {known}",
            labels=unknown[:MAX_NAMED],
        )
    chosen = set(wanted)
    return [column for column, label in enumerate(labels) if label in chosen]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of one image's logits, in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


def ranked(
    logits: np.ndarray, labels: Sequence[str], wanted: Sequence[int], top_k: int
) -> list[tuple[str, float, float]]:
    """One image's best labels as (label, probability, logit), equal logits by label.

    The probabilities are the softmax over all wanted columns, whichever of them are shown.
    """
    if not wanted:
        return []
    values = logits[wanted]
    probabilities = softmax(values)
    order = sorted(range(len(wanted)), key=lambda i: (-values[i], labels[wanted[i]]))
    return [(labels[wanted[i]], float(probabilities[i]), float(values[i])) for i in order[:top_k]]
