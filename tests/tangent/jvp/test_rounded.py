"""Engines of models in 16 bits, against the derivative of the whole model in float64."""

import pytest
import torch
from torch.nn import functional as F

from tangent import errors
from tangent.backbones.casting import cast
from tangent.backbones.loading import Backbone
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.jvp import choose, choose_rounded, dual
from tangent.jvp.class_token_block import TokenBlock
from tangent.jvp.forward_mode import Rules
from tangent.jvp.functional import Generic
from tangent.jvp.rounded import Rounded
from tests.support.families import FAMILIES, derivative, error, held, over, rounding
from tests.support.models import direction, images, pushed

# One of each kind of block and norm; the others have the same operations.
SOME = (
    *("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s16_224"),
    *("convnext_atto", "resnet18", "efficientnet_b0"),
)
KINDS = (torch.bfloat16, torch.float16)
kinds = pytest.mark.parametrize("kind", KINDS, ids=["bfloat16", "float16"])


def narrowed(name: str, scope: str, kind: torch.dtype) -> tuple[Suffix, Suffix]:
    """The suffix of the model in float32, and that of its rounded copy."""
    exact = held(name, torch.float32)
    names = tangent_parameters(exact.model, scope)
    return Suffix(exact, names), Suffix(cast(exact, kind), names, exact.model)


@kinds
@pytest.mark.parametrize("scope", ["last-block", "all"])
@pytest.mark.parametrize("name", SOME)
def test_a_rounded_model_is_as_far_from_the_derivative_as_its_type_says(name, scope, kind):
    whole, narrow = narrowed(name, scope, kind)
    x, delta = images(FAMILIES[name].size, 2), direction(whole.base)
    phi, along = derivative(name, {key: value.double() for key, value in delta.items()}, x)
    engine = choose_rounded(narrow, whole, choose(whole))
    assert engine.name == "rules", engine.reason
    of_phi, of_along = rounding(whole.model, kind)
    general = Rounded(Generic(narrow, "asked for"), whole.base, kind)
    for each in (engine, general):
        found_phi, found = pushed(each, x.float(), delta)
        assert found_phi.dtype == found.dtype == torch.float32
        assert 0 < error(found_phi, phi) <= of_phi
        assert 0 < error(found, along) <= of_along


@kinds
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_what_is_folded_was_rounded_once(name, kind):
    """The kernel of a folded pair is the rounded kernel of the exact pair, and so are layers."""
    whole, narrow = narrowed(name, "last-block", kind)
    delta = direction(whole.base)
    if name == "resnet18":
        exact, rounded = Rules.of(whole), Rules.of(narrow)
        pairs = zip(exact._folds, rounded._folds, strict=True)
        tensors = [(a.kernel, b.kernel) for a, b in pairs if a.names]
        seeds = zip(exact.prepare(delta), rounded.prepare(delta), strict=True)
        tensors += [(a, b) for (_, a), (_, b) in seeds]
    else:
        exact, rounded = TokenBlock.of(whole), TokenBlock.of(narrow)
        both = (exact._folded, rounded._folded), (exact.prepare(delta), rounded.prepare(delta))
        tensors = [(a.qkv[i], b.qkv[i]) for a, b in both for i in (0, 1)]
    for one, other in tensors:
        assert torch.equal(one.to(kind), other)


def test_no_digit_of_a_small_direction_is_lost_in_float16():
    """Its entries are below the smallest number of float16, and its J is that of a large one."""
    whole, narrow = narrowed("vit_tiny_patch16_224", "last-block", torch.float16)
    engine = choose_rounded(narrow, whole, choose(whole))
    x, delta = images(32, 2).float(), direction(whole.base)
    small = {name: value * 2.0**-30 for name, value in delta.items()}
    assert max(value.abs().max().item() for value in small.values()) < 6e-8
    _, expected = pushed(engine, x, delta)
    _, found = pushed(engine, x, small)
    assert torch.equal(found * 2.0**30, expected)
    _, nothing = pushed(engine, x, {name: torch.zeros_like(v) for name, v in delta.items()})
    assert not nothing.any()


def test_many_directions_in_one_pass_keep_their_own_scales():
    whole, narrow = narrowed("resnet18", "last-block", torch.bfloat16)
    engine, x = choose_rounded(narrow, whole, choose(whole)), images(64, 2).float()
    deltas = [{k: v * 10.0**-n for k, v in direction(whole.base, n).items()} for n in range(3)]
    _, together = engine.push(engine.rows(x), [engine.prepare(delta) for delta in deltas])
    for delta, along in zip(deltas, together, strict=True):
        assert torch.equal(along, pushed(engine, x, delta)[1])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_rows_along_their_own_directions_keep_the_scales_of_these(name):
    whole, narrow = narrowed(name, "last-block", torch.bfloat16)
    engine, x = choose_rounded(narrow, whole, choose(whole)), images(FAMILIES[name].size, 3).float()
    deltas = [{k: v * 10.0**-n for k, v in direction(whole.base, n).items()} for n in range(2)]
    prepared, rows = [engine.prepare(delta) for delta in deltas], engine.rows(x)
    _, along = engine.push_own(rows, prepared, [1, 0, 1])
    assert along.dtype == torch.float32
    for at, which in enumerate([1, 0, 1]):
        _, (expected,) = engine.push(rows[at : at + 1], [prepared[which]])
        assert error(along[at : at + 1], expected) <= 5 * torch.finfo(torch.bfloat16).eps


def test_a_model_that_overflows_in_float16_is_refused_and_not_in_bfloat16():
    whole = over(lambda x: x * 1e6)
    with pytest.raises(errors.UnsupportedModel, match=r"cannot answer in float16: the features"):
        choose_rounded(copied(whole, torch.float16), whole, choose(whole))
    assert choose_rounded(copied(whole, torch.bfloat16), whole, choose(whole)).name == "rules"


def copied(whole: Suffix, kind: torch.dtype) -> Suffix:
    """The suffix of a rounded copy of the model."""
    chosen = Backbone("unruly", whole.model, lambda image: image, 4, 8, "none")
    return Suffix(cast(chosen, kind), list(whole.base), whole.model)


def test_rules_that_disagree_with_the_float32_derivative_are_not_trusted(monkeypatch):
    whole = over(F.relu)

    def wrong(duals, x, inplace=False):
        return x.relu(), [1.2 * tangent for tangent in duals.of(x)]

    monkeypatch.setitem(dual.RULES, F.relu, wrong)
    judge = Generic(whole, "by torch, which has no such rule")
    found = choose_rounded(copied(whole, torch.bfloat16), whole, judge)
    assert found.name == "generic"
    assert "disagree" in found.reason


@kinds
def test_a_cast_leaves_the_backbone_as_it_is(kind):
    exact = held("vit_tiny_patch16_224", torch.float32)
    before = {key: value.clone() for key, value in exact.model.state_dict().items()}
    copy = cast(exact, kind)
    for key, value in copy.model.state_dict().items():
        assert value.dtype == (kind if before[key].is_floating_point() else before[key].dtype)
        assert torch.equal(value, before[key].to(value.dtype))
        assert torch.equal(exact.model.state_dict()[key], before[key])
    assert copy.fingerprint == exact.fingerprint
