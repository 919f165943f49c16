"""The bounds that `tangent` states of its errors, on every device: float64 on the CPU judges."""

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.func import jvp

from tangent.backbones.features import head2toe, with_constant
from tests.support.dense_solutions import CPU, Exact, solved
from tests.support.devices import space_on
from tests.support.families import error, rounding
from tests.support.models import (
    BLOCK_SCOPES,
    CASES,
    direction,
    images,
    plain_features,
    untouched,
)

NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
READS = {"head": lambda model, x: with_constant(model(x)), "head2toe": head2toe}
trained = cache(solved)
narrow = pytest.mark.parametrize("precision", NARROW)
# Attention, convolutions with batch norms and kinks, and smooth ones with layer norms.
names = pytest.mark.parametrize("name", ["vit", "resnet_basic", "convnext"])


def pixels(name: str) -> Tensor:
    return images(CASES[name].size, 3).float()


@cache
def derivative(name: str, scope: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A direction in float32, and phi and J along it, of the unsplit model."""
    base = {key: value.cpu() for key, value in space_on(CPU, name, scope).suffix.base.items()}
    moved = {key: value.float() for key, value in direction(base).items()}
    wide = {key: value.double() for key, value in moved.items()}
    model, x = untouched(name), pixels(name).double()
    phi, along = jvp(lambda p: plain_features(model, p, x), (base,), (wide,))
    return moved, phi, along


@narrow
@pytest.mark.parametrize("scope", BLOCK_SCOPES)
@names
def test_in_16_bits_features_and_derivative_are_within_their_familys_bounds(
    name, scope, precision, device
):
    where = space_on(device, name, scope, dtype=torch.float32, precision=precision)
    moved, phi, along = derivative(name, scope)
    there = {key: value.to(device) for key, value in moved.items()}
    psi, (found,) = where.push(where.rows(pixels(name)), [where.answerer.prepare(there)])
    of_phi, of_along = rounding(untouched(name), NARROW[precision])
    assert psi.device.type == found.device.type == device.type
    assert 0 < error(psi.cpu(), with_constant(phi)) <= of_phi
    assert 0 < error(found.cpu(), along) <= of_along


@narrow
@pytest.mark.parametrize("scope", READS)
@names
def test_in_16_bits_the_features_of_a_head_are_within_rounding_and_half_a_step(
    name, scope, precision, device
):
    where = space_on(device, name, scope, dtype=torch.float32, precision=precision)
    expected = READS[scope](untouched(name), pixels(name).double())
    steps = where.grid.steps.cpu().double().expand_as(expected)
    gap = (where.rows(pixels(name)).cpu().double() - expected).norm()
    assert 0 < gap <= where.narrow.bounds.phi * expected.norm() + steps.norm() / 2


@pytest.mark.parametrize("alpha", [1.0, 3.0])
@pytest.mark.parametrize(
    ("norm", "tolerance"), [("delta", 0.05), ("logits", 0.05), ("logits", 1e-3)]
)
@pytest.mark.parametrize("name", ["mini", "resnet_basic"])
def test_conjugate_gradients_that_converged_pin_the_component(name, norm, tolerance, alpha, device):
    """Within the bound of the dense solution, and twice the tolerance of the CPU's."""
    how = dict(alpha=alpha, l2=1e-2, tolerance=tolerance, tolerance_of=norm, max_iterations=1000)
    exact = Exact(0, alpha, how["l2"], name)
    found, told = trained(torch.float32, 0, device, name, **how)
    assert told["converged"], told
    assert exact.error(found, norm) <= told["error_bound"] <= tolerance
    for dtype in (torch.float32, torch.float64):
        here, about = trained(dtype, 0, CPU, name, **how)
        assert about["converged"] and exact.apart(found, here, norm) <= 2 * tolerance
