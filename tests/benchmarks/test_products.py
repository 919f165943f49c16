"""The products of a pass: multiplications as counted by hand, and run again by themselves."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.products import Products, recorded
from tangent.backbones.loading import Backbone
from tangent.backbones.suffix import Suffix
from tangent.jvp.forward_mode import Rules


def layers() -> nn.Module:
    """A convolution (3 → 5, 2×2 on 4×4) and two linear layers (45 → 7 → 6)."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 2), nn.ReLU(), nn.Flatten(1), nn.Linear(45, 7), nn.GELU(), nn.Linear(7, 6)
    ).eval()


CONVOLUTION, FIRST, SECOND = 5 * 9 * 3 * 4, 45 * 7, 7 * 6  # of one image
IMAGES = 2


@torch.no_grad()
def test_a_plain_pass_has_one_product_for_each_layer():
    model, x = layers(), torch.randn(IMAGES, 3, 4, 4)
    found = recorded(lambda: model(x))
    assert len(found.calls) == 3
    assert found.multiplications == IMAGES * (CONVOLUTION + FIRST + SECOND)


def test_a_tangent_pass_has_two_products_where_tangents_begin_then_three():
    model, x = layers().requires_grad_(False), torch.randn(IMAGES, 3, 4, 4)
    suffix = Suffix(
        Backbone("layers", model, lambda image: image, 4, 6, "none"),
        [name for name, _ in model.named_parameters()],
    )
    engine = Rules(suffix)
    seeds = engine.prepare({name: torch.ones_like(p) for name, p in suffix.base.items()})
    found = recorded(lambda: engine.push(engine.rows(x), [seeds]))
    assert found.multiplications == IMAGES * (2 * CONVOLUTION + 3 * FIRST + 3 * SECOND)


@torch.no_grad()
def test_attention_counts_its_two_products():
    q, k, v = (torch.randn(2, 3, 5, 4) for _ in range(3))
    found = recorded(lambda: F.scaled_dot_product_attention(q, k, v))
    assert found.multiplications == 2 * (2 * 3 * 5 * 5 * 4)


@torch.no_grad()
def test_run_again_they_are_the_same_products_and_no_others():
    model, x = layers(), torch.randn(IMAGES, 3, 4, 4)
    found = recorded(lambda: model(x))
    again = Products()
    run = found.again()
    with again:
        run()
    assert again.multiplications == found.multiplications
    assert [layouts for _, layouts, _ in again.calls] == [layouts for _, layouts, _ in found.calls]
