"""The linearisation error: 0 for a linear model, and shrinking with the step for a smooth one."""

import pytest
import torch

from tangent.training.linearity import STEPS, linearisation_errors
from tests.support.models import (
    direction,
    fitted,
    plain_features,
    problem,
    relative,
    source,
    space,
    untouched,
)

LABELS = ["cat", "dog"] * 4


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_at_a_linear_scope_nothing_departs(scope, tmp_path):
    metrics = fitted(space("mini", scope), source(16, LABELS), tmp_path).metrics
    assert [metrics[f"departure_at_{t:g}"] for t in STEPS] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("scope", ["last-block", "all"])
def test_the_departure_is_that_of_the_moved_network_from_its_tangent(scope):
    where, data = space("mini", scope), source(16, LABELS)
    of = problem(where, data)
    delta = {key: 0.3 * value for key, value in direction(of.zero()).items()}
    delta["head"] = torch.randn(of.base.shape, generator=torch.Generator().manual_seed(0)).double()
    found = linearisation_errors(of, delta)
    base, change = of.outputs(of.rows, delta)
    for t in STEPS:
        moved = {key: where.suffix.base[key] + t * delta[key] for key in where.suffix.base}
        phi = plain_features(untouched("mini"), moved, data.pixels)
        psi = torch.cat([phi, torch.ones(len(phi), 1).double()], 1)
        network = psi @ (of.base + t * delta["head"]).T
        expected = (network - base - t * change).norm() / (t * change).norm()
        assert relative(torch.tensor(found[f"departure_at_{t:g}"]), expected) <= 1e-6


def test_of_a_smooth_network_the_departure_shrinks_with_the_step():
    of = problem(space("mini", "last-block"), source(16, LABELS))
    delta = {key: 0.1 * value for key, value in direction(of.zero()).items()}
    near, middle, far = linearisation_errors(of, delta).values()
    assert 0 < near < middle < far
    assert near == pytest.approx(middle / 3, rel=0.3)  # of second order, over one of first


def test_a_delta_of_zero_departs_by_nothing():
    of = problem(space("mini", "last-block"), source(16, LABELS))
    assert set(linearisation_errors(of, of.zero()).values()) == {0.0}
