"""Quadratics: the optimality conditions hold, and an independent solver agrees."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, nnls

from tangent import errors
from tangent.solvers.active_set import minimise
from tangent.vocabulary import CONSTRAINTS

seeds = pytest.mark.parametrize("seed", range(12))


def problem(seed: int, size: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = size or 1 + seed % 9
    root = torch.randn(size + 2, size, generator=generator, dtype=torch.float64)
    linear = 2 * torch.randn(size, generator=generator, dtype=torch.float64)
    return root.T @ root + 0.1 * torch.eye(size, dtype=torch.float64), linear


@seeds
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_optimality_conditions_hold(seed, constraint):
    hessian, linear = problem(seed)
    x = minimise(hessian, linear, constraint)
    slope = hessian @ x - linear
    if constraint == "simplex":
        assert abs(float(x.sum()) - 1) <= 1e-12
        slope = slope - slope[x > 0].mean()
    if constraint != "none":
        assert float(x.min()) >= 0 and float(slope.min()) >= -1e-9
    assert float((slope * (x if constraint != "none" else 1)).abs().max()) <= 1e-9


@seeds
def test_non_negative_is_what_scipy_finds(seed):
    hessian, linear = problem(seed)
    lower = torch.linalg.cholesky(hessian)
    right = torch.linalg.solve_triangular(lower, linear[:, None], upper=False)[:, 0]
    expected, _ = nnls(lower.T.numpy(), right.numpy())
    assert np.abs(minimise(hessian, linear, "non_negative").numpy() - expected).max() <= 1e-9


@seeds
def test_simplex_is_what_scipy_finds(seed):
    hessian, linear = (each.numpy() for each in problem(seed))
    size = len(linear)
    found = minimize(
        lambda x: 0.5 * x @ hessian @ x - linear @ x,
        np.full(size, 1 / size),
        jac=lambda x: hessian @ x - linear,
        bounds=[(0, None)] * size,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones(size)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    x = minimise(*problem(seed), "simplex").numpy()
    assert np.abs(x - found.x).max() <= 1e-6


def test_many_unknowns_settle():
    hessian, linear = problem(3, 64)
    assert minimise(hessian, linear, "simplex").sum() == pytest.approx(1)
    assert not minimise(hessian, -linear.abs(), "non_negative").any()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("hessian", [[[1.0, 1], [1, 1]], [[1.0, 0], [0, -1]], [[0.0, 0], [0, 0]]])
def test_no_single_minimum_is_refused(constraint, hessian):
    with pytest.raises(errors.IndefiniteProblem, match="l2"):
        minimise(torch.tensor(hessian).double(), torch.ones(2).double(), constraint)


def test_nan_is_refused():
    with pytest.raises(errors.IndefiniteProblem, match="are not determined"):
        minimise(torch.full((2, 2), torch.nan).double(), torch.ones(2).double(), "none")
