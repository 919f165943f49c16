"""A pass leaves no traces on the model, and follows in-place operations."""

from itertools import chain

import pytest
import torch
from torch.func import jvp
from torch.nn import functional as F

import tangent
from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.jvp import choose, dual
from tangent.jvp.functional import Generic
from tests.support.models import direction, images, plain_features, pushed, randomise

SMALL = dict(img_size=32, depth=2, embed_dim=48, num_heads=3)
ROPE = [f"vit_small_patch16_rope_mixed{kind}_224" for kind in ("", "_ape")]
FAMILIES = dict.fromkeys((*ROPE, "vit_tiny_patch16_224", "deit3_small_patch16_224"), SMALL) | {
    "resnet18": {},
    "convnext_atto": {},
    "mobilenetv3_small_100": {},
    "swin_tiny_patch4_window7_224": dict(
        img_size=32, window_size=2, depths=(2, 2), embed_dim=16, num_heads=(2, 2)
    ),
}
scopes = pytest.mark.parametrize("scope", ["last-block", "all"])


def held(name: str, dtype: torch.dtype = torch.float32, **kwargs) -> Backbone:
    """A small model with its weights redrawn, as a frozen backbone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = randomise(create_untrained(name, 0, **(kwargs or FAMILIES[name])))
    return wrap(name, model.to(dtype), {"input_size": (3, 32, 32)})


def suffix(backbone: Backbone, scope: str) -> Suffix:
    return Suffix(backbone, tangent_parameters(backbone.model, scope))


def attributes(model: torch.nn.Module) -> list[tuple[int, set[str]]]:
    """Every parameter and buffer of every module, by identity, with its own attributes."""
    return [
        (id(value), set(vars(value)))
        for module in model.modules()
        for value in chain(module._parameters.values(), module._buffers.values())
        if value is not None
    ]


@pytest.mark.parametrize("name", FAMILIES)
@scopes
def test_spaces_and_passes_write_nothing_onto_the_model(name, scope):
    backbone = held(name)
    before = attributes(backbone.model)
    space = tangent.Space(backbone, scope)
    x, delta = images(32, 2).float(), direction(space.suffix.base)
    for engine in (space.engine, Generic(space.suffix, "asked for")):
        rows = engine.rows(x)
        engine.push(rows, [engine.prepare(delta), engine.prepare(delta)])
        engine.pull(rows, torch.ones(2, space.width))
    assert attributes(backbone.model) == before


@pytest.mark.parametrize("name", ROPE)
@scopes
def test_a_parameter_that_an_operation_returns_as_itself_keeps_no_tangent(name, scope):
    """timm's rope.freqs.float() is rope.freqs in float32."""
    split = suffix(held(name), scope)
    engine, x = choose(split), images(32, 2).float()
    assert engine.name == "rules", engine.reason
    first, second = direction(split.base, 1), direction(split.base, 2)
    alone = pushed(engine, x, second)[1]
    pushed(engine, x, first)
    assert torch.equal(pushed(engine, x, second)[1], alone)
    rows = engine.rows(x)
    _, together = engine.push(rows, [engine.prepare(first), engine.prepare(second)])
    for delta, found in zip((first, second), together, strict=True):
        _, expected = jvp(lambda p: plain_features(split.model, p, x), (split.base,), (delta,))
        assert (found - expected).norm() <= 2e-5 * expected.norm()


def test_modules_that_blocks_share_have_their_parameters_back_after_the_general_engine():
    backbone = held("coat_lite_tiny", img_size=32)
    before = attributes(backbone.model)
    split = suffix(backbone, "all")
    engine, x = Generic(split, "asked for"), images(32, 1).float()
    pushed(engine, x, direction(split.base))
    engine.pull(engine.rows(x), torch.ones(1, backbone.width))
    assert attributes(backbone.model) == before


class Positioned(torch.nn.Module):
    """A linear layer, then an operation on its rows and on a parameter."""

    def __init__(self, operation, size: float = 1.0) -> None:
        super().__init__()
        self.layer, self.operation = torch.nn.Linear(48, 8), operation
        self.position = torch.nn.Parameter(size * torch.randn(8))

    def forward(self, x):
        return self.operation(self.layer(x.flatten(1)), self.position)


def over(operation, dtype: torch.dtype = torch.float64, size: float = 1.0) -> Suffix:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Positioned(operation, size).to(dtype).eval().requires_grad_(False)
    backbone = Backbone("in place", model, lambda image: image, 4, 8, "none")
    return Suffix(backbone, [name for name, _ in model.named_parameters()])


def written(change):
    """A change of the rows in place, as a statement whose result is not used."""

    def operation(y, position):
        change(y, position)
        return y

    return operation


def added_to_a_view(y, position):
    y[:, 2:6].add_(position[:4])
    return y * y


def added_under_a_view(y, position):
    view = y.unflatten(1, (2, 4)).transpose(1, 2)
    y.add_(position)
    return (view * view).flatten(1)


def added_beside_a_view(y, position):
    left, right = y.chunk(2, 1)
    left += position[:4] * right
    return torch.cat([left * right, y], 1)[:, :8]


def added_to_a_constant(y, position):
    sums = torch.zeros_like(y)
    part = sums[:, :4]
    part.add_(y[:, :4])
    part.mul_(y[:, 4:])
    return sums + position


def added_after_another_name(y, position):
    plain = y + 1
    y += position
    y[:, :1].mul_(2)
    return y * plain


def detached_before(y, position):
    kept = y.detach()
    y.add_(position)
    return kept + 2 * y


IN_PLACE = {
    "add_": written(lambda y, p: y.add_(p)),
    "add_ of twice as much": written(lambda y, p: y.add_(p, alpha=2)),
    "sub_": written(lambda y, p: y.sub_(p)),
    "mul_": written(lambda y, p: y.mul_(p)),
    "div_": written(lambda y, p: y.div_(p)),
    "copy_": written(lambda y, p: y.copy_(p * p)),
    "copy_ of a constant": written(lambda y, p: y[:, :4].copy_(torch.ones(4))),
    "zero_": written(lambda y, p: y[:, :4].zero_()),
    "clamp_": written(lambda y, p: y.clamp_(-0.5, 0.5)),
    "relu_": written(lambda y, p: y.relu_()),
    "sigmoid_": written(lambda y, p: torch.sigmoid_(y)),
    "exp_": written(lambda y, p: y.exp_()),
    "relu in place": written(lambda y, p: F.relu(y, inplace=True)),
    "silu in place": written(lambda y, p: F.silu(y, inplace=True)),
    "hardswish in place": written(lambda y, p: F.hardswish(y, inplace=True)),
    "masked_fill_": written(lambda y, p: y.masked_fill_(y > 0, 0.5)),
    "a view": added_to_a_view,
    "under a view": added_under_a_view,
    "beside a view": added_beside_a_view,
    "a constant": added_to_a_constant,
    "another name": added_after_another_name,
    "detached": detached_before,
}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_an_in_place_write_reaches_all_later_reads_of_the_memory(kind, count):
    split = over(IN_PLACE[kind])
    engine, x = choose(split), images(4, 3)
    assert engine.name == "rules", engine.reason
    deltas = [direction(split.base, seed) for seed in range(count)]
    phi, together = engine.push(engine.rows(x), [engine.prepare(delta) for delta in deltas])
    for delta, along in zip(deltas, together, strict=True):
        expected = jvp(lambda p: plain_features(split.model, p, x), (split.base,), (delta,))
        torch.testing.assert_close((phi, along), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (lambda y, p: torch.mul(y, p, out=torch.empty_like(y)), "another tensor"),
        (lambda y, p: y * p.mul_(1.0), "overwrite a parameter"),
        (lambda y, p: y * p[:4].mul_(1.0).repeat(2), "overwrite a parameter"),
    ],
)
def test_operations_that_would_overwrite_other_tensors_go_to_the_generic_engine(operation, reason):
    split = over(operation)
    before = split.model.position.clone()
    with pytest.raises(dual.NoRule, match=reason):
        pushed(tangent.jvp.forward_mode.Rules(split), images(4, 2), direction(split.base))
    assert torch.equal(split.model.position, before)


def test_a_pass_that_works_on_its_input_in_place_leaves_the_rows_as_they_are():
    split = over(lambda y, p: y * p)
    split.model.forward = lambda x: split.model.layer(x.mul_(2).flatten(1))
    split = Suffix(Backbone("on input", split.model, lambda i: i, 4, 8, "none"), ["layer.weight"])
    engine, x, delta = choose(split), images(4, 2), direction(split.base)
    kept = x.clone()
    first = pushed(engine, x, delta)
    assert torch.equal(x, kept)
    torch.testing.assert_close(pushed(engine, x, delta), first, rtol=0, atol=0)
    expected = F.linear(2 * kept.flatten(1), delta["layer.weight"])
    torch.testing.assert_close(first[1], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rules_that_miss_a_small_part_of_the_features_are_not_trusted(dtype, monkeypatch):
    """A missing addition, far below the effect of kinks on the derivative."""
    monkeypatch.setitem(dual.RULES, torch.Tensor.add_, lambda duals, x, y: (x + 0, duals.of(x)))
    split = over(written(lambda y, p: y.add_(p)), dtype, size=1e-4)
    engine = choose(split)
    assert engine.name == "generic"
    assert "disagree with the features" in engine.reason
