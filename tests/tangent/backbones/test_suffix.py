"""J·v and Jᵀ·u of the tangent parameters, against autodiff and differences of the whole model."""

from itertools import chain

import pytest
import torch
from torch.func import jacrev, jvp

import tangent
from tangent.backbones.blocks import parameter_blocks
from tangent.backbones.loading import Backbone, create_untrained
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.jvp.functional import Generic
from tests.support.models import (
    BLOCK_SCOPES,
    CASES,
    ENGINES,
    backbone,
    central_difference,
    direction,
    engine,
    engine_of,
    fitted,
    images,
    plain_features,
    pushed,
    relative,
    source,
    space,
    state_hash,
    untouched,
)

GRID = [(name, scope) for name in CASES for scope in BLOCK_SCOPES]
grid = pytest.mark.parametrize(("name", "scope"), GRID)
engines = pytest.mark.parametrize("by", ENGINES)


@engines
@grid
def test_jvp_equals_forward_autodiff_over_all_parameters_of_the_untouched_model(name, scope, by):
    suffix, model, x = space(name, scope).suffix, untouched(name), images(CASES[name].size, 3)
    delta = direction(suffix.base)
    everything = dict(model.named_parameters())
    tangents = {key: delta.get(key, torch.zeros_like(p)) for key, p in everything.items()}
    expected, along = jvp(lambda p: plain_features(model, p, x), (everything,), (tangents,))
    phi, found = pushed(engine(name, scope, by), x, delta)
    assert relative(phi, expected) <= 1e-12
    assert relative(found, along) <= 1e-10
    assert along.abs().max() > 1e-3  # the direction does something


@engines
@grid
def test_jvp_equals_a_central_difference_of_the_untouched_model(name, scope, by):
    suffix, model, x = space(name, scope).suffix, untouched(name), images(CASES[name].size, 2, 5)
    delta = direction(suffix.base, 5)

    def moved(step):
        return plain_features(model, {k: suffix.base[k] + step * v for k, v in delta.items()}, x)

    _, found = pushed(engine(name, scope, by), x, delta)
    assert relative(found, central_difference(moved)) <= 1e-7


@engines
@pytest.mark.parametrize("name", ["vit", "resnet_bottleneck"])
def test_jvp_and_vjp_equal_products_with_the_explicit_jacobian(name, by):
    suffix, model, x = (
        space(name, "last-block").suffix,
        untouched(name),
        images(CASES[name].size, 2),
    )
    jacobian = jacrev(lambda p: plain_features(model, p, x))(suffix.base)
    delta = direction(suffix.base)
    expected = sum((jacobian[k].flatten(2) @ v.flatten()) for k, v in delta.items())
    phi, found = pushed(engine(name, "last-block", by), x, delta)
    assert relative(found, expected) <= 1e-10
    cotangent = torch.randn(phi.shape, generator=torch.Generator().manual_seed(1)).double()
    held = engine(name, "last-block", by)
    _, pulled = held.pull(held.rows(x), cotangent)
    for key, value in pulled.items():
        rows = jacobian[key].flatten(0, 1).flatten(1)
        assert relative(value.flatten(), cotangent.flatten() @ rows) <= 1e-10


@engines
@grid
def test_vjp_is_the_adjoint_of_jvp(name, scope, by):
    suffix, x = space(name, scope).suffix, images(CASES[name].size, 3, 2)
    held, v = engine(name, scope, by), direction(suffix.base, 2)
    phi, along = pushed(held, x, v)
    u = torch.randn(phi.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    same, pulled = held.pull(held.rows(x), u)
    left = (u * along).sum()
    right = sum((pulled[key] * v[key]).sum() for key in v)
    assert list(pulled) == list(suffix.base)
    assert abs(left - right) <= 1e-10 * (u.norm() * along.norm())
    assert relative(same, phi) <= 1e-14


@engines
@grid
def test_the_activation_split_changes_nothing(name, scope, by):
    split, x = space(name, scope).suffix, images(CASES[name].size, 3, 4)
    whole = Suffix(backbone(name), list(split.base))
    whole.entry = None
    delta = direction(split.base, 4)
    (phi, found), (expected_phi, expected) = (
        pushed(engine(name, scope, by), x, delta),
        pushed(Generic(whole, "not split"), x, delta),
    )
    assert torch.equal(whole.activation(x), x)
    assert relative(phi, expected_phi) <= 1e-13
    assert relative(found, expected) <= 1e-13


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scope", ["last-block", "last-2-blocks"])
def test_the_prefix_of_a_block_scope_is_really_split_off(name, scope):
    suffix = space(name, scope).suffix
    assert suffix.entry is not None
    first = next(key for key, module in suffix.model.named_modules() if module is suffix.entry)
    inside = [key for key in suffix.base if key.startswith(first + ".")]
    assert inside and len(inside) == sum(1 for _ in suffix.entry.parameters())


@engines
@grid
def test_a_zero_direction_moves_nothing_at_all(name, scope, by):
    suffix, x = space(name, scope).suffix, images(CASES[name].size, 2)
    zero = {key: torch.zeros_like(value) for key, value in suffix.base.items()}
    phi, along = pushed(engine(name, scope, by), x, zero)
    assert (along == 0).all()
    assert relative(phi, plain_features(untouched(name), {}, x)) <= 1e-13


@pytest.mark.parametrize("name", CASES)
def test_scopes_choose_the_parameters_of_the_blocks_that_they_name(name):
    model, case = untouched(name), CASES[name]
    names = [key for key, _ in model.named_parameters()]
    last = [key for key in names if key.startswith(case.last_block)]
    two = [key for key in names if key.startswith(case.last_block + case.block_before)]
    assert tangent_parameters(model, "head") == tangent_parameters(model, "head2toe") == []
    assert tangent_parameters(model, "last-block") == last
    assert tangent_parameters(model, "last-1-blocks") == last
    assert tangent_parameters(model, "last-2-blocks") == two
    assert tangent_parameters(model, "all") == names


@pytest.mark.parametrize(
    ("architecture", "first", "last"),
    [
        ("regnety_002", "s4.b7.conv1.conv.weight", "s4.b7.conv3.bn.bias"),
        ("densenet121", "features.denseblock4.denselayer16.norm1.weight", "features.norm5.bias"),
        ("dla34", "level5.tree2.conv1.weight", "level5.root.bn.bias"),
        ("vovnet39a", "stages.3.blocks.1.conv_mid.0.conv.weight", None),
    ],
)
def test_the_last_block_is_one_block_where_names_join_letters_and_digits(architecture, first, last):
    with torch.device("meta"):
        model = create_untrained(architecture, 0)
    blocks = parameter_blocks(model)
    assert len(blocks) > 5
    assert blocks[-1][0] == first
    assert last is None or blocks[-1][-1] == last
    assert sorted(chain(*blocks)) == sorted(name for name, _ in model.named_parameters())


@pytest.mark.parametrize("name", ["vit", "resnet_basic", "swin"])
def test_base_weights_and_buffers_are_never_written(name, tmp_path):
    before = state_hash(untouched(name))
    for scope in ("head", "head2toe", *BLOCK_SCOPES):
        where = space(name, scope)
        data = source(CASES[name].size, ["a", "b"] * 3)
        part = fitted(where, data, tmp_path, max_iterations=3).component
        composed = tangent.compose(where, [(part, 2.0)], "weighted", shas=["0"])
        where.logits(data.pixels, composed)
        for by in ENGINES if where.suffix else ():
            held, delta = engine(name, scope, by), direction(where.suffix.base)
            phi, _ = pushed(held, data.pixels, delta)
            held.pull(held.rows(data.pixels), torch.ones_like(phi))
        assert state_hash(where.model) == before
        assert not any(p.requires_grad or p.grad is not None for p in where.model.parameters())
        assert not any(module.training for module in where.model.modules())


class Skipping(torch.nn.Module):
    """The images also bypass the last layer, so no single module has the whole input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(48, 8), torch.nn.Linear(8, 8)

    def forward(self, x):
        return self.last(self.first(x.flatten(1))) + x.flatten(1)[:, :8]


@engines
def test_a_model_whose_prefix_reaches_around_the_suffix_is_not_split(by):
    model = Skipping().double().eval().requires_grad_(False)
    held = Backbone("skipping", model, lambda image: image, 4, 8, "none")
    suffix = Suffix(held, ["last.weight", "last.bias"])
    assert suffix.entry is None
    x, delta = images(4, 3), direction(suffix.base)
    _, found = pushed(engine_of(by, suffix), x, delta)
    with torch.no_grad():
        expected = model.first(x.flatten(1)) @ delta["last.weight"].T + delta["last.bias"]
    assert relative(found, expected) <= 1e-13
