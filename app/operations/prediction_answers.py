"""Answers of a prediction, from the engine's numbers to what a client is told."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from app.errors import Problem
from app.inference.models import Calibrated, Passed
from app.store.compositions import Selection

Answer = dict[str, Any] | Problem  # the fields of a Result, or what is wrong with the image


class Answered(NamedTuple):
    """The answers, and the calibration that they were judged by."""

    answers: list[Answer]
    calibration: Calibrated | None


class Through(NamedTuple):
    """Images that went through a selection's model."""

    selection: Selection
    inputs: list[Any]  # pixels or a Problem for each image
    passed: Passed | None  # of those that have pixels; None if there is none


class Logits(NamedTuple):
    """The images' logits by a composition of this version, and the problems of some."""

    version: str
    labels: tuple[str, ...]
    logits: np.ndarray  # float32 (images, labels); of those without a problem
    problems: list[Problem | None]
    temperature: float | None  # of their probabilities


@dataclass(frozen=True)
class Prediction:
    """The images' answers, and the selection that they were made from."""

    selection: dict[str, Any]  # the fields of a PredictionOut
    answers: list[Answer]
    seconds: dict[str, float]  # of each of STEPS
    is_small: bool  # as an answer, so that writing it blocks nobody
