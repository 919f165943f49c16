"""Fits of a composition's weights to labelled examples, see `tangent`'s fitted weights."""

from collections.abc import Sequence

import torch

from app.inference.models import Effects, WeightProblem, Weights
from tangent.composition.fitted_weights import Examples, WeightFit, examples_of, uniform


def fit(problem: WeightProblem) -> Weights:
    """Return the weights that fit the examples best which are not held out.

    Raises:
        IndefiniteProblem: no weights are the best, or more than one choice is.
    """
    examples = _examples(problem.chunks, problem.truth)
    fitted = examples.chosen([row for row, out in enumerate(problem.held_out) if not out])
    held_out = examples.chosen([row for row, out in enumerate(problem.held_out) if out])
    objective = WeightFit(problem.objective, problem.l2, problem.constraint, problem.beta)
    weights, equal = objective.solve(fitted), uniform(fitted)
    return Weights(
        weights=weights.tolist(),
        objective=objective.value(fitted, weights),
        uniform_objective=objective.value(fitted, equal),
        holdout_accuracy=held_out.accuracy(weights),
        uniform_holdout_accuracy=held_out.accuracy(equal),
    )


def _examples(chunks: Sequence[Effects], truth: Sequence[int]) -> Examples:
    return examples_of(
        [
            (torch.tensor(each.base), [torch.tensor(moved) for moved in each.moved])  # writable
            for each in chunks
        ],
        truth,
    )
