"""The words of the API are those of the mathematics, which runs without the API."""

from typing import get_args

import pytest

from tangent import vocabulary as mathematics
from tangent.components import privacy
from tangent_composer import vocabulary

NAMES = ("RULES", "SCOPES", "LINEAR", "MERGE_METHODS", "MIN_WEIGHT", "MAX_WEIGHT")


@pytest.mark.parametrize("name", NAMES)
def test_the_words_are_those_of_the_mathematics(name):
    assert getattr(vocabulary, name) == getattr(mathematics, name)


def test_the_choices_of_weights_that_are_fitted_are_those_of_the_mathematics():
    assert get_args(vocabulary.Objective) == mathematics.OBJECTIVES
    assert get_args(vocabulary.Constraint) == mathematics.CONSTRAINTS


def test_the_number_formats_of_answers_are_those_of_the_mathematics():
    assert get_args(vocabulary.PrecisionName) == get_args(mathematics.PrecisionName)


def test_the_bounds_of_a_private_training_are_those_of_the_mathematics():
    assert vocabulary.EPSILONS == privacy.EPSILONS
    assert vocabulary.DELTAS == privacy.DELTAS
    assert vocabulary.MAX_PRIVATE_LABELS == privacy.MAX_LABELS
