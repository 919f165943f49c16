"""The losses and penalties: formula (4) by hand, gradients by autograd, convexity along rays."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tangent.solvers import losses

ROWS, LABELS = 5, 4


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def targets(seed: int = 0) -> Tensor:
    return torch.randint(LABELS, (ROWS,), generator=torch.Generator().manual_seed(seed))


def formula_4(logits: list[list[float]], truth: list[int], alpha: float, beta: float) -> float:
    """(1/K)[alpha (h_y - beta)² + sum of the others' h_k²], averaged over images, in loops."""
    total = 0.0
    for row, y in zip(logits, truth, strict=True):
        squares = [alpha * (h - beta) ** 2 if k == y else h**2 for k, h in enumerate(row)]
        total += math.fsum(squares) / len(row)
    return total / len(logits)


def test_rsl_on_a_case_done_by_hand():
    # image 1: (3 (1 - 5)² + 2² + 0²) / 3 = 52/3; image 2: (1² + 1² + 3 (5 - 5)²) / 3 = 2/3
    value, slope = losses.rsl(
        torch.tensor([[1.0, 2.0, 0.0], [-1.0, 1.0, 5.0]]).double(), torch.tensor([0, 2]), 3.0, 5.0
    )
    assert value.item() == pytest.approx(9.0, rel=1e-15)
    expected = torch.tensor([[-24.0, 4.0, 0.0], [-2.0, 2.0, 0.0]]).double() / 6
    assert torch.allclose(slope, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("alpha", [0.25, 1.0, 7.0])
@pytest.mark.parametrize("beta", [0.5, 15.0])
def test_rsl_is_formula_4_and_its_gradient_is_autograds(alpha, beta):
    logits, truth = numbers(ROWS, LABELS).requires_grad_(), targets()
    value, slope = losses.rsl(logits, truth, alpha, beta)
    assert value.item() == pytest.approx(
        formula_4(logits.tolist(), truth.tolist(), alpha, beta), rel=1e-13
    )
    (expected,) = torch.autograd.grad(value, logits)
    assert torch.allclose(slope, expected, rtol=1e-12, atol=1e-15)


def test_rsl_with_alpha_one_is_the_mean_square_to_beta_times_one_hot():
    logits, truth = numbers(ROWS, LABELS), targets()
    value, _ = losses.rsl(logits, truth, 1.0, 15.0)
    wanted = 15.0 * F.one_hot(truth, LABELS).double()
    assert value.item() == pytest.approx(F.mse_loss(logits, wanted).item(), rel=1e-13)


def test_cross_entropys_value_and_gradient_are_the_definitions():
    logits, truth = numbers(ROWS, LABELS).requires_grad_(), targets()
    value, slope = losses.cross_entropy(logits, truth)
    by_hand = [
        math.log(math.fsum(math.exp(h) for h in row)) - row[y]
        for row, y in zip(logits.tolist(), truth.tolist(), strict=True)
    ]
    assert value.item() == pytest.approx(sum(by_hand) / ROWS, rel=1e-13)
    (expected,) = torch.autograd.grad(value, logits)
    assert torch.allclose(slope, expected, rtol=1e-12, atol=1e-15)


def test_cross_entropy_of_huge_logits_stays_finite():
    value, slope = losses.cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([1]))
    assert value.item() == pytest.approx(2e4)
    assert slope.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize(
    ("kind", "penalty"),
    [("squared", losses.squared_penalty), ("norm", losses.norm_penalty)],
)
def test_a_penaltys_slope_times_delta_is_its_gradient(kind, penalty):
    delta = numbers(7).requires_grad_()
    norm2 = (delta**2).sum()
    (expected,) = torch.autograd.grad(penalty(norm2, 0.3), delta)
    found = losses.penalty_slope(kind, norm2.item(), 0.3) * delta
    assert torch.allclose(found, expected, rtol=1e-13)


def test_penalties_at_zero_are_finite():
    assert losses.squared_penalty(0.0, 2.0) == 0.0
    assert losses.norm_penalty(0.0, 2.0) == pytest.approx(2e-3)
    assert losses.penalty_slope("norm", 0.0, 2.0) == pytest.approx(2e3)


VALUES = {
    "rsl": lambda h, y: losses.rsl(h, y, 2.0, 15.0)[0].item(),
    "cross_entropy": lambda h, y: losses.cross_entropy(h, y)[0].item(),
    "squared": lambda h, y: losses.squared_penalty((h**2).sum().item(), 0.7),
    "norm": lambda h, y: losses.norm_penalty((h**2).sum().item(), 0.7),
}


@settings(deadline=None, max_examples=25)
@given(t=st.floats(0, 1), seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
@pytest.mark.parametrize("kind", VALUES)
def test_every_loss_and_penalty_is_convex_along_a_line(kind, t, seed, scale):
    one, two = numbers(ROWS, LABELS, seed=seed), scale * numbers(ROWS, LABELS, seed=seed + 1)
    value, truth = VALUES[kind], targets(seed)
    between = value(t * one + (1 - t) * two, truth)
    chord = t * value(one, truth) + (1 - t) * value(two, truth)
    assert between <= chord * (1 + 1e-12) + 1e-12


@settings(deadline=None, max_examples=25)
@given(t=st.floats(0.01, 10), seed=st.integers(0, 2**31))
def test_rsls_second_difference_along_a_ray_is_that_of_a_quadratic(t, seed):
    start, ray, truth = numbers(ROWS, LABELS), numbers(ROWS, LABELS, seed=seed), targets()
    low, middle, high = (
        losses.rsl(start + k * t * ray, truth, 1.0, 15.0)[0].item() for k in (-1, 0, 1)
    )
    expected = 2 * t**2 * (ray**2).sum().item() / (ROWS * LABELS)
    assert high - 2 * middle + low == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_accuracy_counts_the_rows_whose_target_is_largest():
    logits = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 6.0]])
    assert losses.argmax_accuracy(logits, torch.tensor([1, 0, 0, 1])) == 0.75
