"""A training that says `converged` is as near to the exact solution as its tolerance says.

The exact solution is one dense solution in float64, from the explicit Jacobian of the classifier.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tangent
from tangent.training import iterative
from tests.support.dense_solutions import BETA, Exact, data, solved, space
from tests.support.models import fitted, problem, source

norms = pytest.mark.parametrize("norm", ["delta", "logits"])
alphas = pytest.mark.parametrize("alpha", [1.0, 3.0])


penalties = st.floats(-4, 1).map(lambda power: 10.0**power)
tolerances = st.floats(-7, -0.5).map(lambda power: 10.0**power)


@norms
@alphas
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(deadline=None, max_examples=6, derandomize=True)
@given(l2=penalties, tolerance=tolerances, seed=st.integers(0, 2))
def test_the_error_is_below_its_bound_and_converged_is_within_the_tolerance(
    dtype, alpha, norm, l2, tolerance, seed
):
    how = dict(alpha=alpha, l2=l2, tolerance=tolerance, tolerance_of=norm, max_iterations=60)
    delta, told = solved(dtype, seed, **how)

    error = Exact(seed, alpha, l2).error(delta, norm)
    if told["error_bound"] is not None:
        assert error <= told["error_bound"]
    assert told["converged"] == (told["stopped"] == "converged")
    if told["converged"]:
        assert told["error_bound"] <= tolerance
    assert told["iterations"] <= 60


@norms
@alphas
@pytest.mark.parametrize("l2", [1e-2, 1.0])
def test_float32_and_float64_agree_to_the_tolerance_that_both_reached(l2, alpha, norm):
    how = dict(alpha=alpha, l2=l2, tolerance=0.05, tolerance_of=norm, max_iterations=1000)
    (one, first), (two, second) = (solved(t, 0, **how) for t in (torch.float32, torch.float64))

    assert first["converged"] and second["converged"]
    assert Exact(0, alpha, l2).apart(one, two, norm) <= 2 * 0.05


def test_the_bound_is_near_the_error_where_the_head_is_eliminated():
    for norm in ("delta", "logits"):
        how = dict(l2=1e-2, tolerance=1e-3, tolerance_of=norm)
        delta, told = solved(torch.float64, 0, **how)
        assert told["error_bound"] <= 30 * Exact(0, 1.0, 1e-2).error(delta, norm)


def test_a_gradient_that_shrank_says_little_of_the_error():
    """The reason for the bound: at the same tolerance the gradient leaves delta far off."""
    how = dict(alpha=3.0, l2=1e-2, tolerance=1e-3)
    exact = Exact(0, 3.0, 1e-2)

    delta, told = solved(torch.float64, 0, tolerance_of="gradient", **how)
    assert told["converged"] and exact.error(delta, "delta") > 10 * 1e-3
    assert "error_bound" not in told

    delta, told = solved(torch.float64, 0, tolerance_of="delta", **how)
    assert told["converged"] and exact.error(delta, "delta") <= 1e-3


@alphas
def test_a_precision_that_float32_does_not_have_is_not_claimed(alpha):
    how = dict(alpha=alpha, l2=1.0, tolerance=1e-10, tolerance_of="delta", max_iterations=200)
    delta, told = solved(torch.float32, 0, **how)

    assert (told["converged"], told["stopped"]) == (False, "stagnated")
    assert told["error_bound"] > 1e-10
    assert Exact(0, alpha, 1.0).error(delta, "delta") <= told["error_bound"]


def test_too_few_steps_are_told_with_the_bound_that_they_reached(tmp_path):
    where, shown = space(torch.float64), source(16, list("abcabcabc"), 1)
    how = dict(l2=1e-3, max_iterations=1, tolerance=1e-6, tolerance_of="delta")
    told = fitted(where, shown, tmp_path, **how).metrics
    assert (told["stopped"], told["converged"], told["iterations"]) == ("max_iterations", False, 1)
    assert told["error_bound"] is None or told["error_bound"] > 1e-6


def test_labels_that_the_base_answers_exactly_need_no_step():
    training = problem(space(torch.float64), data(0), beta=BETA, solver="cg", l2=1.0)
    training.base = torch.zeros_like(training.base)
    training.hyperparameters = tangent.Hyperparameters.resolve(
        "last-block", {"beta": 1e-3, "alpha": 1e3, "l2": 1e4, "solver": "cg", "tolerance": 0.5}
    )
    told = iterative.conjugate_gradients(training, lambda *_: None).stats
    assert told["converged"] and told["error_bound"] <= 0.5
