"""Joint at block scopes in one shot: by dense algebra, and in its limits."""

import dataclasses
import hashlib

import pytest
import torch

import tangent
from tangent.backbones.features import with_constant
from tangent.composition import joint_one_shot
from tangent.composition.attribution import attribute
from tangent.composition.logit_effects import logits_by_delta
from tests.support.models import fitted, images, pushed, relative, source, space, untouched
from tests.support.random_components import SIZE, components, compose

WEIGHTS = [1.0, 0.3, 1.0, 2.0]


def flat(part: tangent.Component) -> torch.Tensor:
    return torch.cat([part.backbone[name].flatten() for name in sorted(part.backbone)])


def naive(weights: list[float]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """The averaged direction, the head behind it and each part's share of that head."""
    where, parts = space("mini", "last-block"), components("last-block")
    labels = sorted({name for part in parts for name in part.labels})
    base = where.base_rows(labels)
    mean = sum(w * flat(part) for part, w in zip(parts, weights, strict=True)) / sum(weights)
    gram, ridge, rights = 0.0, 0.0, []
    for part, weight in zip(parts, weights, strict=True):
        own = flat(part)
        r = (mean @ own) / (own @ own)
        gram = gram + weight * part.statistics.gram
        ridge += 0.5 * len(labels) * 1e-3 * weight * part.statistics.images
        right = -base @ part.statistics.gram - base[:, :-1] @ (r * part.statistics.cross).T
        for row, name in enumerate(part.statistics.labels):
            right[labels.index(name)] += 15.0 * part.statistics.sums[row]
        rights.append(weight * right)
    inverse = torch.linalg.inv(gram + ridge * torch.eye(len(gram), dtype=torch.float64))
    return mean, sum(rights) @ inverse, [right @ inverse for right in rights]


def test_the_head_is_the_optimum_behind_the_averaged_block():
    delta = compose("last-block", range(4), "joint", WEIGHTS)
    mean, head, _ = naive(WEIGHTS)
    found = torch.cat([delta.backbone[name].flatten() for name in sorted(delta.backbone)])
    assert relative(found, mean) <= 1e-12
    assert relative(delta.head, head) <= 1e-9


def test_a_share_is_its_own_term_and_its_part_of_the_averaged_block():
    where, x = space("mini", "last-block"), images(SIZE, 3)
    parts = list(zip(components("last-block"), WEIGHTS, strict=True))
    found = attribute(where, x, parts, "joint", shas=list("dbca"))
    psi = with_constant(untouched("mini")(x))
    rows = where.base_rows(found.base.labels)[:, :-1]
    for (part, weight), share, head in zip(parts, found.shares, naive(WEIGHTS)[2], strict=True):
        _, along = pushed(where.engine, x, part.backbone)
        expected = psi @ head.T + weight / sum(WEIGHTS) * along @ rows.T
        assert relative(share, expected) <= 1e-8


def test_one_component_alone_is_itself():
    part = components("last-block")[1]
    delta = compose("last-block", [1], "joint", [0.3])
    assert torch.equal(delta.head, part.head)
    assert all(torch.equal(delta.backbone[name], part.backbone[name]) for name in part.backbone)


def test_copies_of_a_converged_component_compose_to_itself(tmp_path):
    """Every block is the average then, so nothing is approximated."""
    where = space("mini", "last-block")
    data = source(SIZE, ["cat", "dog", "cat", "eel", "dog", "cat"])
    part = fitted(where, data, tmp_path, tolerance=1e-12, l2=1e-2).component
    delta = tangent.compose(where, [(part, None)] * 3, "joint", shas="abc")
    x = images(SIZE, 4)
    ((base, copies),) = logits_by_delta(where, x, [delta])
    one = tangent.compose(where, [(part, None)], "joint", shas="a")
    ((_, alone),) = logits_by_delta(where, x, [one])
    assert relative(base + copies, base + alone) <= 1e-7


def test_a_component_carries_what_its_block_does_on_its_own_data(tmp_path):
    where = space("mini", "last-block", ("owl",))
    data = source(SIZE, ["cat", "dog", "cat", "eel"])
    for views in (1, 2):
        part = fitted(where, data, tmp_path, max_iterations=5, views=views).component
        assert part.statistics.counts == {"cat": 2.0, "dog": 1.0, "eel": 1.0}
    part = fitted(where, data, tmp_path, max_iterations=5).component
    phi, along = pushed(where.engine, data.pixels, part.backbone)
    psi = with_constant(phi)
    assert relative(part.statistics.gram, psi.T @ psi) <= 1e-12
    assert relative(part.statistics.cross, psi.T @ along) <= 1e-12


def test_the_file_keeps_it_bit_for_bit(tmp_path):
    part = components("last-block")[0]
    part.save(tmp_path / "one")
    read = tangent.Component.load(tmp_path / "one")
    assert torch.equal(read.statistics.cross, part.statistics.cross)
    assert hashlib.sha256(read.to_bytes()).digest() == hashlib.sha256(part.to_bytes()).digest()


def test_a_file_whose_cross_products_do_not_fit_is_refused(tmp_path):
    part = components("last-block")[0]
    wrong = dataclasses.replace(part.statistics, cross=torch.zeros(2, 2, dtype=torch.float64))
    dataclasses.replace(part, statistics=wrong).save(tmp_path / "one")
    with pytest.raises(tangent.errors.BadComponent, match=r"cross must have the shape \(9, 8\)"):
        tangent.Component.load(tmp_path / "one")


def test_a_block_of_zeros_takes_no_share():
    part = components("last-block")[0]
    still = dataclasses.replace(
        part, backbone={name: torch.zeros_like(v) for name, v in part.backbone.items()}
    )
    parts = [(still, 1.0), (part, 1.0)]
    inner = joint_one_shot.inner_products(parts)
    r = joint_one_shot.shares(inner, torch.ones(2, dtype=torch.float64))
    assert r.tolist() == pytest.approx([0.0, 0.5])
    found = joint_one_shot.block_effects(parts, joint_one_shot.averaged(parts))
    assert not found[0].any() and relative(found[1], 0.5 * part.statistics.cross) <= 1e-12
