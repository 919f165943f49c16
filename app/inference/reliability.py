"""Reliability of probabilities: how often an answer is right that is given as so sure.

The expected calibration error is the mean difference of the two over bins of the probability,
weighted by images (Naeini et al. 2015).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.inference.models import Passed
from app.inference.ranking import softmax

BINS = 15


class Reliability:
    """Counts over images as they come, by the probability of their first label."""

    def __init__(self) -> None:
        self._images = np.zeros(BINS, np.int64)
        self._correct = np.zeros(BINS, np.int64)
        self._confidence = np.zeros(BINS)
        self._known = 0  # images whose true label is among those of the answers
        self._nll = self._brier = 0.0

    def add(self, passed: Passed, truth: Sequence[str]) -> None:
        """Count images with their true labels."""
        temperature = passed.calibration and passed.calibration.temperature
        column = {label: at for at, label in enumerate(passed.labels)}
        for logits, label in zip(passed.logits, truth, strict=True):
            probabilities = softmax(logits, temperature)
            best = int(logits.argmax())
            place = min(int(probabilities[best] * BINS), BINS - 1)
            self._images[place] += 1
            self._confidence[place] += probabilities[best]
            self._correct[place] += passed.labels[best] == label
            if label in column:
                self._known += 1
                own = probabilities[column[label]]
                self._nll -= _log_softmax(logits, column[label], temperature)
                self._brier += float((probabilities**2).sum() - 2 * own + 1)

    def result(self) -> dict[str, Any] | None:
        """Return the numbers as an evaluation shows them; None without images."""
        images = int(self._images.sum())
        if not images:
            return None
        counted = np.maximum(self._images, 1)
        accuracy, confidence = self._correct / counted, self._confidence / counted
        error = float((self._images * np.abs(accuracy - confidence)).sum() / images)
        return {
            "expected_calibration_error": error,
            "negative_log_likelihood": self._nll / self._known if self._known else None,
            "brier_score": self._brier / self._known if self._known else None,
            "unknown_labels": images - self._known,
            "reliability": [
                {
                    "above": at / BINS,
                    "images": int(self._images[at]),
                    "probability": float(confidence[at]),
                    "accuracy": float(accuracy[at]),
                }
                for at in range(BINS)
                if self._images[at]
            ],
        }


def _log_softmax(logits: np.ndarray, column: int, temperature: float | None) -> float:
    """Return the logarithm of one label's probability, which itself may be too small to have."""
    scaled = (logits.astype(np.float64) - logits.max()) / (temperature or 1.0)
    return float(scaled[column] - np.log(np.exp(scaled).sum()))
