"""Images of one batch along a direction of each one's own, against float64 `torch.func.jvp`."""

import pytest
import torch
from torch.func import jvp

from tangent.backbones.loading import Backbone
from tangent.backbones.scope import tangent_parameters
from tangent.backbones.suffix import Suffix
from tangent.jvp import choose
from tangent.jvp.forward_mode import Rules
from tests.support.families import FAMILIES, error, held
from tests.support.models import (
    ENGINES,
    direction,
    engine,
    images,
    plain_features,
    relative,
    space,
    untouched,
)

OWN = {1: [0] * 5, 2: [1, 0, 1, 1, 0], 5: [3, 1, 4, 0, 2]}  # of five images, by the directions
# These compute a bias or a table from parameters alone, by operations that are done for each
# direction: their images go in a pass for each.
IN_SEVERAL = (
    *("vit_base_patch16_siglip_224", "beit_base_patch16_224", "eva02_tiny_patch14_224"),
    *("swinv2_tiny_window8_256",),
)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_row_moves_along_its_own_direction_in_one_pass(name, monkeypatch):
    """Of each alone, `test_families` compares with the derivative."""
    chosen = held(name, torch.float64)
    one = choose(Suffix(chosen, tangent_parameters(chosen.model, "last-2-blocks")))
    x, own = images(FAMILIES[name].size, 4), [2, 0, 2, 0]
    deltas = [direction(one.suffix.base, seed) for seed in range(3)]
    rows, prepared = one.rows(x), [one.prepare(delta) for delta in deltas]
    expected = torch.cat(
        [one.push(rows[at : at + 1], [prepared[which]])[1][0] for at, which in enumerate(own)]
    )
    one.push_own(rows, prepared, own)  # it may prove itself first
    if name not in IN_SEVERAL:
        monkeypatch.setattr(one, "push", None)
    phi, along = one.push_own(rows, prepared, own)
    assert error(phi, one.suffix.run(rows)) <= 1e-10
    assert error(along, expected) <= 1e-10


@pytest.mark.parametrize("count", OWN)
@pytest.mark.parametrize("scope", ["last-block", "all"])
@pytest.mark.parametrize("name", ["vit", "vit_average", "swin", "resnet_basic"])
def test_any_number_of_compositions_share_a_batch(name, scope, count):
    where, x = space(name, scope), images(32 if "resnet" in name else 16, 5)
    base, own, model = where.suffix.base, torch.tensor(OWN[count]), untouched(name)
    deltas = [direction(base, seed) for seed in range(count)]
    features = [
        jvp(lambda p: plain_features(model, p, x), (base,), (delta,))[1] for delta in deltas
    ]
    expected = torch.stack(features)[own, torch.arange(5)]
    for kind in ENGINES:
        one = engine(name, scope, kind)
        prepared = [one.prepare(delta) for delta in deltas]
        _, along = one.push_own(one.rows(x), prepared, OWN[count])
        assert relative(along, expected) <= 1e-10


class Table(torch.nn.Module):
    """A layer to which a table is added that no image has a part in, though it has three rows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(48, 3)
        self.table = torch.linspace(-1, 1, 9, dtype=torch.float64).view(3, 3)

    def forward(self, x):
        return self.layer(x.flatten(1)) + (self.layer.bias * self.table).sum(1)


def test_a_value_that_only_looks_like_a_batch_is_found_out():
    with torch.random.fork_rng():
        model = Table().double().eval().requires_grad_(False)
    split = Suffix(
        Backbone("table", model, lambda image: image, 4, 3, "none"), ["layer.weight", "layer.bias"]
    )
    one, x = Rules.of(split), images(4, 3)
    deltas = [direction(split.base, seed) for seed in range(2)]
    prepared = [one.prepare(delta) for delta in deltas]
    _, wrong = one._push_own(one.rows(x), prepared, [0, 1, 0])
    _, along = one.push_own(one.rows(x), prepared, [0, 1, 0])
    for at, which in enumerate([0, 1, 0]):
        delta = deltas[which]
        expected = x[at].flatten() @ delta["layer.weight"].T + delta["layer.bias"]
        expected = expected + (delta["layer.bias"] * model.table).sum(1)
        assert error(along[at], expected) <= 1e-12
    assert error(wrong, along) > 1e-3


def test_a_lack_of_memory_is_not_taken_for_a_model_that_has_no_one_pass(monkeypatch):
    where, x = space("resnet_basic", "last-block"), images(32, 2)
    one = Rules.of(where.suffix)
    prepared = [one.prepare(direction(where.suffix.base, seed)) for seed in range(2)]
    with monkeypatch.context() as patch:

        def full(*_):
            raise torch.OutOfMemoryError("the device is full")

        patch.setattr(one, "_push_own", full)
        with pytest.raises(torch.OutOfMemoryError, match="is full"):
            one.push_own(one.rows(x), prepared, [0, 1])
    one.push_own(one.rows(x), prepared, [0, 1])  # proves itself now
    monkeypatch.setattr(one, "push", None)
    one.push_own(one.rows(x), prepared, [0, 1])
