"""Every engine on every family, scope and dtype, against float64 `torch.func.jvp` of the model.

The models are timm's own classes at small sizes, with all parameters redrawn.
"""

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.func import jvp
from torch.nn import functional as F

from tangent import errors
from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.jvp import choose, dual
from tangent.jvp.functional import Generic
from tests.support.models import direction, images, plain_features, pushed, randomise

TINY_VIT = dict(img_size=32, depth=3, embed_dim=32, num_heads=2)
TINY_SWIN = dict(img_size=64, window_size=2, depths=(2, 2), embed_dim=16, num_heads=(2, 2))


@dataclass(frozen=True)
class Family:
    """A timm architecture, the size of its images, and the arguments that make it small."""

    architecture: str
    size: int
    kwargs: tuple[tuple[str, object], ...] = ()


def family(architecture: str, size: int, **kwargs: object) -> Family:
    return Family(architecture, size, tuple(kwargs.items()))


FAMILIES = {
    f.architecture: f
    for f in [
        family("vit_tiny_patch16_224", 32, **TINY_VIT),
        family("deit3_small_patch16_224", 32, **TINY_VIT),
        family("vit_small_patch14_dinov2", 28, **TINY_VIT | dict(img_size=28)),
        family("vit_base_patch16_siglip_224", 32, **TINY_VIT),
        family("beit_base_patch16_224", 32, **TINY_VIT, init_values=0.1),
        family("eva02_tiny_patch14_224", 28, **TINY_VIT | dict(img_size=28)),
        family("cait_xxs24_224", 32, **TINY_VIT),
        family("xcit_nano_12_p16_224", 32, **TINY_VIT),
        family("swin_tiny_patch4_window7_224", 64, **TINY_SWIN),
        family("swinv2_tiny_window8_256", 64, **TINY_SWIN),
        family("pvt_v2_b0", 64),
        family("edgenext_xx_small", 64),
        family("mobilevit_xxs", 64),
        family("levit_128s", 224),
        family("mixer_s16_224", 32, img_size=32),
        family("convnext_atto", 64),
        family("convnextv2_atto", 64),
        family("resnet18", 64),
        family("resnet26", 64),
        family("seresnet18", 64),
        family("resnext50_32x4d", 64, layers=(1, 1, 1, 1)),
        family("resnetv2_18", 64),
        family("regnety_002", 64),
        family("densenet121", 64, block_config=(1, 1, 1, 1)),
        family("efficientnet_b0", 64),
        family("mobilenetv3_small_100", 64),
        family("mobilenetv4_conv_small", 64),
        family("ghostnet_100", 64),
        family("repvgg_a0", 64),
        family("fastvit_t8", 64),
    ]
}
every = pytest.mark.parametrize("name", FAMILIES)
scopes = pytest.mark.parametrize("scope", ["last-block", "last-2-blocks", "all"])


@cache
def held(name: str, dtype: torch.dtype) -> Backbone:
    """A small model of the family as a frozen backbone."""
    about = FAMILIES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = randomise(create_untrained(about.architecture, 0, **dict(about.kwargs)))
    return wrap(name, model.to(dtype), {"input_size": (3, about.size, about.size)})


def suffix(name: str, scope: str, dtype: torch.dtype = torch.float64) -> Suffix:
    chosen = held(name, dtype)
    return Suffix(chosen, tangent_parameters(chosen.model, scope))


def derivative(name: str, delta: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """phi and J·delta of the whole model by torch.func, in float64."""
    model = held(name, torch.float64).model
    base = {key: dict(model.named_parameters())[key].detach() for key in delta}
    phi, along = jvp(lambda p: plain_features(model, p, x), (base,), (delta,))
    return phi, along


def error(found: Tensor, expected: Tensor) -> float:
    """The relative error, in the Euclidean norm."""
    return ((found.double() - expected).norm() / expected.norm()).item()


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


class Unruly(torch.nn.Module):
    """A linear layer, then an operation of the given kind."""

    def __init__(self, operation) -> None:
        super().__init__()
        self.layer, self.operation = torch.nn.Linear(48, 8), operation

    def forward(self, x):
        return self.operation(self.layer(x.flatten(1)))


def over(operation, **about) -> Suffix:
    with torch.random.fork_rng():
        model = Unruly(operation).double().eval().requires_grad_(False)
    for key, value in about.items():
        setattr(model, key, value)
    chosen = Backbone("unruly", model, lambda image: image, 4, 8, "none")
    return Suffix(chosen, ["layer.weight", "layer.bias"])


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
