"""A batch may mix compositions: each answer is the one that its delta gives alone."""

import gc

import pytest
import torch

from tests.support.models import images, relative, space
from tests.support.random_components import delta

SCOPES = ("head", "head2toe", "last-block", "last-2-blocks", "all")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ["vit", "vit_average", "resnet_basic"])
def test_the_same_images_by_several_deltas(name, scope):
    where, x = space(name, scope), images(16 if "vit" in name else 32, 3)
    deltas = [delta(where, 0), delta(where, 1, ("bee", "cat")), delta(where, 2, ("owl",))]
    for found, each in zip(where.logits_of_each(x, deltas), deltas, strict=True):
        assert found.shape == (3, len(each.labels))
        assert relative(found, where.logits(x, each)) <= 1e-6


@pytest.mark.parametrize("scope", SCOPES)
def test_each_image_by_a_delta_of_its_own(scope):
    where, x = space("vit", scope), images(16, 40)  # more than one pass holds
    deltas = [delta(where, 0), delta(where, 1, ("bee", "cat"))]
    own = [i % 3 % 2 for i in range(40)]
    for i, (found, _) in enumerate(where.answers_of_own(x, deltas, own)):
        assert relative(found, where.logits(x[i : i + 1], deltas[own[i]])[0]) <= 1e-6


def test_an_average_of_logits_is_the_logits_of_the_average():
    where, x = space("vit", "last-block"), images(16, 3)
    parts = [delta(where, seed) for seed in range(3)]
    mean = {key: sum(p.backbone[key] for p in parts) / 3 for key in parts[0].backbone}
    composed = type(parts[0])(parts[0].labels, sum(p.head for p in parts) / 3, mean)
    each = where.logits_of_each(x, parts)
    assert relative(where.logits(x, composed), torch.stack(each).mean(0)) <= 1e-6


def test_what_depends_on_a_delta_is_made_once_and_goes_with_it(monkeypatch):
    where, x = space("vit", "last-2-blocks"), images(16, 3)
    made, real = [], where.engine.prepare
    monkeypatch.setattr(where.engine, "prepare", lambda d: made.append(1) or real(d))
    kept = delta(where, 3)
    assert torch.equal(where.logits(x, kept), where.logits(x, kept))
    assert len(made) == 1
    before = len(where._heads)
    del kept
    gc.collect()
    assert len(where._heads) == before - 1
