"""Every engine on every family, scope and dtype, against float64 `torch.func.jvp` of the model.

The models are timm's own classes at small sizes, with all parameters redrawn.
"""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tangent import errors
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.jvp import choose, dual
from tangent.jvp.functional import Generic
from tests.support.families import FAMILIES, derivative, error, held, over
from tests.support.models import direction, images, pushed

every = pytest.mark.parametrize("name", FAMILIES)
scopes = pytest.mark.parametrize("scope", ["last-block", "last-2-blocks", "all"])


def suffix(name: str, scope: str, dtype: torch.dtype = torch.float64) -> Suffix:
    chosen = held(name, dtype)
    return Suffix(chosen, tangent_parameters(chosen.model, scope))


@every
@scopes
def test_both_engines_equal_the_derivative_in_float64(name, scope):
    split = suffix(name, scope)
    x, delta = images(FAMILIES[name].size, 2), direction(split.base)
    phi, along = derivative(name, delta, x)
    assert along.norm() > 1e-6 * phi.norm()  # the direction does something
    chosen = choose(split)
    assert chosen.name == "rules", chosen.reason
    for engine in (chosen, Generic(split, "asked for")):
        found_phi, found = pushed(engine, x, delta)
        assert error(found_phi, phi) <= 1e-10
        assert error(found, along) <= 1e-10


@every
def test_the_rules_in_float32_lose_no_more_than_float32_does(name):
    """1e-5 on smooth models; 5e-3 where a pre-activation near 0 falls on either side of a kink."""
    split = suffix(name, "last-2-blocks", torch.float32)
    x, delta = images(FAMILIES[name].size, 2), direction(split.base)
    phi, along = derivative(name, {k: v.double() for k, v in delta.items()}, x)
    found_phi, found = pushed(choose(split), x.float(), delta)
    kinked = any(type(m).__name__.startswith("ReLU") for m in split.model.modules())
    assert error(found_phi, phi) <= 2e-5
    assert error(found, along) <= (5e-3 if kinked else 5e-5)


@every
def test_many_directions_in_one_pass_equal_each_alone(name):
    split = suffix(name, "last-block")
    engine, x = choose(split), images(FAMILIES[name].size, 2)
    deltas = [direction(split.base, seed) for seed in range(3)]
    rows = engine.rows(x)
    _, together = engine.push(rows, [engine.prepare(delta) for delta in deltas])
    for delta, along in zip(deltas, together, strict=True):
        assert error(along, pushed(engine, x, delta)[1]) <= 1e-12


def test_an_operation_without_a_rule_is_left_to_the_general_engine_and_named():
    engine = choose(over(lambda x: torch.logaddexp(x, -x)))
    assert engine.name == "generic"
    assert "logaddexp has no rule" in engine.reason


def sampled(x: Tensor) -> Tensor:
    """Interpolate between the entries: torch has no forward derivative, and there is no rule."""
    grid = torch.zeros(len(x), 2, 4, 2, dtype=x.dtype)
    return F.grid_sample(x.view(-1, 1, 2, 4), grid, align_corners=False).flatten(1)


def test_a_model_without_forward_derivative_is_refused():
    with pytest.raises(errors.UnsupportedModel, match=r"Unruly has no forward derivative.*scope"):
        choose(over(sampled))


class Doubled(torch.autograd.Function):
    """An operation that torch.func cannot differentiate, while its parts have rules."""

    @staticmethod
    def forward(context, x):
        return 2 * x

    @staticmethod
    def backward(context, gradient):
        return 2 * gradient


def test_where_torch_func_fails_the_rules_are_compared_with_differences():
    split = over(Doubled.apply)
    engine, x, delta = choose(split), images(4, 2), direction(split.base)
    assert engine.name == "rules"
    along = pushed(engine, x, delta)[1]
    expected = 2 * F.linear(x.flatten(1), delta["layer.weight"], delta["layer.bias"])
    assert error(along, expected) <= 1e-12


def test_a_model_in_training_mode_is_refused_by_the_modules_name():
    split = over(torch.nn.Dropout(0.5))
    split.model.operation.train()
    with pytest.raises(errors.UnsupportedModel, match=r"operation \(Dropout\).*call model.eval"):
        choose(split)


def test_weights_that_are_not_finite_are_refused_by_the_tensors_name():
    split = over(torch.relu)
    split.model.layer.weight[0, 0] = torch.nan
    with pytest.raises(errors.NonFinite, match=r"layer.weight holds NaN"):
        choose(split)


def test_rules_that_disagree_are_not_trusted(monkeypatch):
    monkeypatch.setitem(dual.RULES, F.relu, lambda duals, x, inplace=False: (x.relu(), duals.of(x)))
    engine = choose(over(F.relu))
    assert engine.name == "generic"
    assert "disagree" in engine.reason
