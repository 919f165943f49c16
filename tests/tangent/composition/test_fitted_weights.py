"""Weights: the convex problem's own minimum, as an independent solver finds it; deterministic."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from tangent import errors
from tangent.composition.attribution import logits_by_component
from tangent.composition.fitted_weights import Examples, WeightFit, examples_of, uniform
from tangent.vocabulary import CONSTRAINTS, OBJECTIVES
from tests.support.models import images, relative, space
from tests.support.random_components import SIZE, components, compose


def examples(seed: int = 0, count: int = 30, labels: int = 4, parts: int = 3) -> Examples:
    """Components that are each right about some of the labels."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(labels, (count,), generator=generator)
    noise = torch.randn(count, labels, parts, generator=generator, dtype=torch.float64)
    base = 0.3 * torch.randn(count, labels, generator=generator, dtype=torch.float64)
    right = torch.nn.functional.one_hot(truth, labels).double()
    skill = torch.linspace(2.0, -0.5, parts, dtype=torch.float64)
    return Examples(base, noise + right[..., None] * skill, truth)


def naive(problem: WeightFit, given: Examples, weights: np.ndarray) -> float:
    """The objective by its formula, image by image."""
    total, (count, labels) = 0.0, given.base.shape
    for base, moved, true in zip(given.base, given.moved, given.truth, strict=True):
        logits = base.numpy() + moved.numpy() @ weights
        target = problem.beta * (np.arange(labels) == int(true))
        if problem.objective == "squared":
            total += 0.5 * np.sum((logits - target) ** 2) / labels
        else:
            total -= log_softmax(logits)[int(true)]
    return total / count + 0.5 * problem.l2 * np.sum((weights - 1 / len(weights)) ** 2)


def twin(problem: WeightFit, given: Examples) -> np.ndarray:
    """The minimiser by scipy, from the naive objective and numerical derivatives."""
    size = given.moved.shape[2]
    constrained = problem.constraint != "none"
    total = {"type": "eq", "fun": lambda x: x.sum() - 1}
    return minimize(
        lambda x: naive(problem, given, x),
        np.full(size, 1 / size),
        bounds=[(0, None)] * size if constrained else None,
        constraints=total if problem.constraint == "simplex" else (),
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    ).x


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(3))
def test_the_weights_are_those_that_scipy_finds(objective, constraint, seed):
    given, problem = examples(seed), WeightFit(objective, 0.01, constraint, beta=2.0)
    found = problem.solve(given)
    expected = twin(problem, given)
    assert np.abs(found.numpy() - expected).max() <= 2e-5
    value = problem.value(given, found)
    assert value == pytest.approx(naive(problem, given, found.numpy()), rel=1e-12)
    assert value <= naive(problem, given, np.maximum(expected, 0)) + 1e-9 or constraint == "none"


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_optimality_conditions_hold(objective, constraint):
    given, problem = examples(5, parts=6), WeightFit(objective, 1e-3, constraint, beta=2.0)
    weights = problem.solve(given)
    slope = numerical_slope(problem, given, weights.numpy())
    if constraint == "simplex":
        assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
        slope -= slope[weights.numpy() > 0].mean()
    if constraint == "none":
        assert np.abs(slope).max() <= 1e-7
    else:
        assert float(weights.min()) == 0.0  # some component is worse than none
        assert slope.min() >= -1e-7 and np.abs(slope * weights.numpy()).max() <= 1e-7


def numerical_slope(problem: WeightFit, given: Examples, weights: np.ndarray) -> np.ndarray:
    steps = 1e-5 * np.eye(len(weights))
    return np.array(
        [
            (naive(problem, given, weights + s) - naive(problem, given, weights - s)) / 2e-5
            for s in steps
        ]
    )


def test_the_same_examples_give_the_same_bytes():
    for objective in OBJECTIVES:
        problem = WeightFit(objective, 0.01, "simplex", beta=2.0)
        assert torch.equal(problem.solve(examples()), problem.solve(examples()))


def test_a_large_penalty_leaves_the_average():
    weights = WeightFit("cross_entropy", 1e9, "none").solve(examples())
    assert relative(weights, uniform(examples())) <= 1e-6


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_like_components_need_a_penalty_and_then_share(objective):
    given = examples(parts=1)
    twice = Examples(given.base, given.moved.repeat(1, 1, 2), given.truth)
    with pytest.raises(errors.IndefiniteProblem, match="l2"):
        WeightFit(objective, 0.0, "none").solve(twice)
    weights = WeightFit(objective, 1e-3, "none").solve(twice)
    assert float(weights[0]) == pytest.approx(float(weights[1]), rel=1e-9)


def test_perfect_components_need_a_penalty():
    truth = torch.arange(8) % 2
    right = torch.nn.functional.one_hot(truth, 2).double()
    given = Examples(torch.zeros(8, 2).double(), right[..., None], truth)
    with pytest.raises(errors.IndefiniteProblem, match="l2"):
        WeightFit("cross_entropy", 0.0, "non_negative").solve(given)
    assert WeightFit("cross_entropy", 1e-3, "none").solve(given)[0] > 1


@pytest.mark.parametrize("scope", ["head", "last-block"])
def test_examples_give_the_logits_of_the_weighted_composition(scope):
    where, x, weights = space("mini", scope), images(SIZE, 5), [0.5, -1.0, 0.25, 2.0]
    labels = ("ant", "cat", "dog", "eel")
    chunks = [logits_by_component(where, part, components(scope), labels) for part in x.split(2)]
    given = examples_of(chunks, [0, 1, 2, 3, 0])
    expected = where.logits(x, compose(scope, range(4), "weighted", weights))
    lambdas = torch.tensor(weights, dtype=torch.float64)
    assert relative(given.logits(lambdas), expected) <= 1e-6
    best = expected.argmax(1).tolist()
    right = sum(a == b for a, b in zip(best, [0, 1, 2, 3, 0], strict=True))
    assert given.accuracy(lambdas) == right / 5
    assert len(given.chosen([4, 0])) == 2 and given.chosen([3]).truth.tolist() == [3]
