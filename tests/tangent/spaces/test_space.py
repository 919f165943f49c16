"""The space: affine outputs, rows by label alone, a fingerprint of all that matters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import jvp

import tangent
from tangent import errors
from tangent.backbones.label_head import head_rows
from tangent.backbones.loading import wrap
from tangent.spaces.devices import device_of
from tests.support.models import (
    CASES,
    backbone,
    exact_logits,
    fresh,
    images,
    on_grid,
    plain_features,
    relative,
    space,
    untouched,
)
from tests.support.random_components import LABELS, delta

SCOPES = ("head", "head2toe", "last-block", "all")


def mixed(parts: list[tuple[float, tangent.Delta]]) -> tangent.Delta:
    """The weighted sum of deltas with the same labels."""
    first = parts[0][1]
    backbone_part = {k: sum(w * d.backbone[k] for w, d in parts) for k in first.backbone}
    return tangent.Delta(first.labels, sum(w * d.head for w, d in parts), backbone_part)


def pixels(name: str, count: int, seed: int = 0) -> Tensor:
    return images(CASES[name].size, count, seed)


@pytest.mark.parametrize("scope", ["head", "last-block", "last-2-blocks", "all"])
@pytest.mark.parametrize("name", ["vit", "resnet_basic", "swin"])
def test_logits_are_the_first_order_expansion_of_backbone_and_head_together(name, scope):
    where, model, x = space(name, scope), untouched(name), pixels(name, 3)
    moved = delta(where, 0)
    rows = head_rows(backbone(name).fingerprint, LABELS, where.width)
    base = {key: dict(model.named_parameters())[key] for key in moved.backbone}

    def classifier(parameters, weights, bias):
        return on_grid(where, plain_features(model, parameters, x)) @ weights.T + bias

    value, along = jvp(
        classifier,
        (base, rows[:, :-1], rows[:, -1]),
        (moved.backbone, moved.head[:, :-1], moved.head[:, -1]),
    )
    assert relative(exact_logits(where, x, moved), value + along) <= 1e-12
    served = where.logits(x, moved)
    assert served.dtype == torch.float32
    assert relative(served.double(), value + along) <= 1e-7


@settings(deadline=None, max_examples=12)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), seed=st.integers(0, 1000))
@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block"])
def test_outputs_are_affine_in_delta(scope, a, b, seed):
    where, x = space("mini", scope), pixels("mini", 2, seed)
    one, two = delta(where, seed), delta(where, seed + 1)
    zero = mixed([(0.0, one)])
    base = exact_logits(where, x, zero)
    found = exact_logits(where, x, mixed([(a, one), (b, two)])) - base
    first, second = (exact_logits(where, x, d) - base for d in (one, two))
    assert (found - (a * first + b * second)).abs().max() <= 1e-10 * (1 + base.abs().max())


@settings(deadline=None, max_examples=10)
@given(weights=st.lists(st.floats(-2, 2), min_size=1, max_size=4))
@pytest.mark.parametrize("scope", ["head2toe", "last-block"])
def test_one_pass_is_the_weighted_sum_of_the_components_outputs(scope, weights):
    where, x = space("mini", scope), pixels("mini", 2)
    parts = [(weight, delta(where, seed)) for seed, weight in enumerate(weights)]
    base = exact_logits(where, x, mixed([(0.0, parts[0][1])]))
    expected = (1 - sum(weights)) * base + sum(w * exact_logits(where, x, d) for w, d in parts)
    found = exact_logits(where, x, mixed(parts))
    assert (found - expected).abs().max() <= 1e-10 * (1 + expected.abs().max())


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ["vit", "resnet_basic"])
def test_a_zero_delta_answers_as_the_base_bit_for_bit(name, scope):
    where, x = space(name, scope), pixels(name, 4)
    rows = head_rows(backbone(name).fingerprint, LABELS, where.width)
    features = torch.cat([on_grid(where, untouched(name)(x)), torch.ones(4, 1).double()], 1)
    zero = mixed([(0.0, delta(where, 0))])
    assert torch.equal(where.logits(x, zero), (features @ rows.T).float())


@pytest.mark.parametrize("scope", SCOPES)
def test_another_label_leaves_the_others_logits_as_they_are(scope):
    where, x = space("vit", scope), pixels("vit", 3)
    more = delta(where, 0, ("bee", *LABELS, "fox"))
    fewer = tangent.Delta(LABELS, more.head[1:4].clone(), more.backbone)
    assert torch.equal(where.logits(x, more)[:, 1:4], where.logits(x, fewer))


def test_base_rows_depend_on_the_label_alone():
    plain, declared = space("vit", "head"), space("vit", "head", ("dog", "yak"))
    assert torch.equal(plain.base_rows(LABELS), declared.base_rows(LABELS))
    assert torch.equal(plain.base_rows(LABELS)[1:2], plain.base_rows(["dog"]))
    wide = space("vit", "head2toe").base_rows(LABELS)
    narrow = plain.base_rows(LABELS)
    assert torch.equal(torch.cat([wide[:, :16], wide[:, -1:]], 1), narrow)
    assert (wide[:, 16:-1] == 0).all()  # the readouts of the depths are zero at the base point


@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block"])
@pytest.mark.parametrize("name", ["vit", "resnet_basic"])
def test_in_float32_an_images_logits_depend_on_its_batch_by_rounding_only(name, scope):
    where = tangent.Space(backbone(name, torch.float32), scope)
    x, some = pixels(name, 70).float(), delta(where, 0)
    together = where.logits(x, some)
    alone = torch.cat([where.logits(x[i : i + 1], some) for i in (0, 31, 32, 69)])
    assert relative(together[[0, 31, 32, 69]], alone) <= 2e-6
    assert torch.equal(where.logits(x, some), together)
    assert torch.equal(where.logits(x[:32], some), together[:32])  # passes of a fixed size


def naive_depth(features: np.ndarray) -> np.ndarray:
    """A map (C, H, W) averaged on a grid, bin by bin, then standardised."""
    channels, height, width = features.shape
    grid = min(height, width, int((512 / channels) ** 0.5))
    cells = np.empty((channels, grid, grid))
    for i in range(grid):
        rows = slice(i * height // grid, -(-(i + 1) * height // grid))
        for j in range(grid):
            columns = slice(j * width // grid, -(-(j + 1) * width // grid))
            cells[:, i, j] = features[:, rows, columns].mean((1, 2))
    return ((cells - cells.mean()) / np.sqrt(cells.var() + 1e-5)).ravel()


@pytest.mark.parametrize(
    ("name", "depths"),
    [("vit", (0, 1, 2)), ("resnet_basic", (0, 2, 3, 4)), ("convnext", (0, 1, 2, 3))],
)
def test_head2toe_reads_the_pooled_depths_that_a_naive_recomputation_gives(name, depths):
    where, x = space(name, "head2toe"), pixels(name, 2)
    _, maps = untouched(name).forward_intermediates(x, output_fmt="NCHW")
    phi = untouched(name)(x)
    found = where.readout(x)
    for i in range(2):
        parts = [naive_depth(maps[depth][i].numpy()) for depth in depths]
        expected = np.concatenate([phi[i].numpy(), *parts, [1.0]])
        assert found.shape == (2, where.readout_width)
        off = np.abs(found[i].numpy() - expected)
        assert (off <= where.grid.steps.numpy() / 2 + 1e-12).all()
        assert (found[i] == on_grid(where, found[i : i + 1])[0]).all()


def test_at_scope_head_the_readout_is_the_pooled_features_and_one():
    x = pixels("convnext", 2)
    where = space("convnext", "head")
    found = where.readout(x)
    assert relative(found[:, :-1], on_grid(where, untouched("convnext")(x))) <= 1e-14
    assert (found[:, -1] == 1).all()


def reopened(change=lambda model: None, preprocessing=None, scope="head", declared=()) -> str:
    """The fingerprint of a space over a fresh copy of the ViT after a change to it."""
    model = fresh("vit").double()
    change(model)
    held = wrap("any name", model, {"input_size": (3, 16, 16)} | (preprocessing or {}))
    return tangent.Space(held, scope, declared).fingerprint


def nudge(model: torch.nn.Module) -> None:
    model.blocks[0].mlp.fc1.weight.data[0, 0] += 1e-12


def test_the_fingerprint_is_of_everything_that_a_delta_depends_on():
    base = reopened()
    assert reopened() == base  # another object, the same space; its name does not count
    assert space("vit", "head").fingerprint == base
    different = [
        reopened(nudge),
        reopened(lambda model: model.float()),
        reopened(preprocessing={"mean": (0.1, 0.2, 0.3)}),
        reopened(preprocessing={"interpolation": "bilinear"}),
        reopened(preprocessing={"crop_pct": 0.5}),
        reopened(scope="head2toe"),
        reopened(scope="last-block"),
        reopened(declared=("a",)),
        reopened(declared=("a", "b")),
        reopened(declared=("a,b",)),
    ]
    assert len({base, *different}) == len(different) + 1


def test_the_order_and_repetition_of_declared_labels_do_not_count():
    found = reopened(declared=("b", "a", "b"))
    assert found == reopened(declared=("a", "b"))
    assert space("vit", "head", ("b", "a")).declared == ("a", "b")


def test_running_statistics_count_in_the_fingerprint():
    one, two = fresh("resnet_basic"), fresh("resnet_basic")
    two.bn1.running_var[0] += 1e-3
    config = {"input_size": (3, 32, 32)}
    assert wrap("x", one, config).fingerprint != wrap("x", two, config).fingerprint


def test_parameter_counts_are_those_of_the_model_and_the_scope():
    total = sum(p.numel() for p in untouched("vit").parameters())
    last = sum(p.numel() for k, p in untouched("vit").named_parameters() if "blocks.2" in k)
    found = {scope: space("vit", scope) for scope in SCOPES}
    assert {where.parameters_total for where in found.values()} == {total}
    assert found["head"].parameters_tangent == 17
    assert found["last-block"].parameters_tangent == last + 2 * 16 + 17
    assert found["all"].parameters_tangent == total + 17


def test_only_linear_scopes_compose_exactly():
    assert {s: space("vit", s).default_rule for s in SCOPES} == {
        "head": "joint",
        "head2toe": "joint",
        "last-block": "average",
        "all": "average",
    }


@pytest.mark.parametrize("scope", ["", "tail", "last-N-blocks", "last-0-blocks", "last--blocks"])
def test_an_unknown_scope_is_refused_with_the_valid_ones(scope):
    with pytest.raises(errors.UnknownScope, match="choose one of head, head2toe, last-block"):
        tangent.open_space("resnet_micro_32", scope)


def test_a_scope_of_more_blocks_than_there_are_says_how_many_there_are():
    with pytest.raises(errors.UnknownScope, match="asks for 9 blocks, the backbone has 4"):
        tangent.Space(backbone("vit"), "last-9-blocks")


def test_an_unknown_backbone_is_refused():
    with pytest.raises(errors.UnknownBackbone, match="no backbone is called 'resnet_mikro_32'"):
        tangent.open_space("resnet_mikro_32", "head")


def test_auto_is_the_gpu_where_there_is_one_and_else_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto").type == "cpu"
    if torch.cuda.device_count():
        monkeypatch.undo()
        assert device_of("auto").type == "cuda"
    else:  # then the choice of the GPU shows in the refusal
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        with pytest.raises(errors.UnknownDevice, match="device 'cuda' here"):
            device_of("auto")


def test_a_device_that_is_not_there_is_refused_by_its_name():
    with pytest.raises(errors.UnknownDevice, match="device 'cuda:99' here"):
        device_of("cuda:99")
