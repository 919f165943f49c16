"""A batch may mix compositions: each answer is the one that its delta gives alone."""

import gc

import pytest
import torch

from tangent.spaces import answering
from tests.support.memory import Held
from tests.support.models import direction, images, relative, space
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


@pytest.mark.parametrize("scope", ["head", "last-block", "last-2-blocks"])
def test_exact_answers_share_no_pass_with_another_delta(scope, monkeypatch):
    where, x = space("vit", scope), images(16, 5)
    deltas, own = [delta(where, 0), delta(where, 1)], [0, 1, 1, 0, 1]
    together = where.answers_of_own(x, deltas, own)
    if where.engine is not None:
        monkeypatch.setattr(where.engine, "push_own", lambda *_: pytest.fail("a mixed pass"))
    exact = where.answers_of_own(x, deltas, own, exact=True)
    for (found, psi), (other, same_psi) in zip(exact, together, strict=True):
        assert relative(found, other) <= 1e-6
        assert relative(psi, same_psi) <= 1e-9


def test_where_memory_is_short_for_a_mixed_batch_each_delta_has_a_pass(monkeypatch):
    where, x = space("vit", "last-2-blocks"), images(16, 4)
    deltas, own = [delta(where, 0), delta(where, 1)], [0, 1, 1, 0]
    expected = where.answers_of_own(x, deltas, own)
    asked = []

    def short(*_):
        asked.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(where.engine, "push_own", short)
    for (found, _), (other, _) in zip(where.answers_of_own(x, deltas, own), expected, strict=True):
        assert relative(found, other) <= 1e-6
    assert asked


@pytest.mark.parametrize("scope", ["last-block", "last-2-blocks"])
def test_many_directions_need_no_more_memory_than_those_of_one_pass(scope, monkeypatch):
    monkeypatch.setattr(answering, "DIRECTIONS", 1)  # for a whole chunk, so four for eight images
    where, x = space("vit", scope), images(16, 8)
    rows = where.rows(x)
    drawn = [where.engine.prepare(direction(where.suffix.base, seed)) for seed in range(12)]

    def held(count: int) -> int:
        with Held() as memory:
            _, along = where.push(rows, drawn[:count])
        assert len(along) == count
        assert relative(along[-1], where.engine.push(rows, drawn[count - 1 : count])[1][0]) <= 1e-9
        return memory.most

    one, four, twelve = held(1), held(4), held(12)
    assert four > 1.3 * one, "the directions of a pass are counted"
    results = 8 * len(rows) * where.width * 8  # of the further directions, in bytes
    assert twelve <= four + 2 * results
