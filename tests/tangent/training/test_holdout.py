"""A hold-out takes whole groups: what it measures is not how well a photograph is recognised."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import tangent
from tangent.training.holdout import HOLDOUT, held_out
from tests.support.models import Source, space

SIZE = 16  # of the images of the tiny models


def test_every_tenth_image_of_a_label_where_each_is_a_group():
    targets = [0] * 25 + [1] * 9 + [2] * 10
    expected = [9, 19, 43]
    assert torch.nonzero(held_out(targets)).flatten().tolist() == expected
    assert torch.nonzero(held_out(targets, list(range(44)))).flatten().tolist() == expected


def test_groups_are_never_parted():
    torch.manual_seed(1)
    targets = sorted(torch.randint(3, (300,)).tolist())
    groups = torch.randint(60, (300,)).tolist()
    mask = held_out(targets, groups)
    sides = {(group, bool(side)) for group, side in zip(groups, mask.tolist(), strict=True)}
    assert len(sides) == len(set(groups))
    assert 0 < int(mask.sum()) <= 300 / HOLDOUT + 3 * 5


def test_few_large_groups_leave_at_least_half_of_a_label():
    assert held_out([0] * 100, [place // 20 for place in range(100)]).sum() == 20
    assert held_out([0] * 100, [place // 50 for place in range(100)]).sum() == 50
    assert held_out([0] * 100, [0] * 100).sum() == 0


def test_the_order_of_names_of_groups_does_not_matter():
    targets, groups = [0] * 40, [place // 4 for place in range(40)]
    renamed = [999 - group for group in groups]
    assert torch.equal(held_out(targets, groups), held_out(targets, renamed))


def crops(photographs: int, of_each: int, side: int) -> tuple[Tensor, list[str], list[int]]:
    """Crops of smooth random pictures; a coin decides on the label of a picture."""
    torch.manual_seed(5)
    wide = torch.nn.functional.interpolate(
        torch.randn(photographs, 3, 4, 4), size=(side + 4, side + 4), mode="bicubic"
    )
    images, labels, groups = [], [], []
    for photograph in range(photographs):
        for _ in range(of_each):
            top, left = torch.randint(5, (2,)).tolist()
            images.append(wide[photograph, :, top : top + side, left : left + side])
            labels.append("ab"[photograph % 2])
            groups.append(photograph)
    order = sorted(range(len(labels)), key=lambda place: (labels[place], place * 7919 % 1009))
    return (
        torch.stack([images[place] for place in order]),
        [labels[place] for place in order],
        [groups[place] for place in order],
    )


@pytest.mark.parametrize("grouped", [False, True])
def test_groups_cure_the_accuracy_of_a_network_of_random_weights(tmp_path: Path, grouped: bool):
    """Labels that a coin decides cannot be learnt: 0.5 is true, whatever the crops tell."""
    where = space("vit", "head2toe")
    images, labels, groups = crops(photographs=60, of_each=10, side=SIZE)
    settings = tangent.Hyperparameters.resolve("head2toe", {"l2": 1e-6})
    done = tangent.fit(
        where,
        Source(images, labels),
        settings,
        scratch=tmp_path,
        groups=groups if grouped else None,
    )
    accuracy = done.metrics["holdout_accuracy"]
    assert accuracy < 0.7 if grouped else accuracy > 0.85
    ungrouped = tmp_path / "other"
    ungrouped.mkdir()
    other = tangent.fit(where, Source(images, labels), settings, scratch=ungrouped)
    assert done.component.save(tmp_path / "a") == other.component.save(tmp_path / "b")


def test_no_accuracy_is_given_where_a_label_is_one_group(tmp_path: Path):
    where = space("vit", "head2toe")
    images, labels, _ = crops(photographs=4, of_each=10, side=SIZE)
    groups = [0 if label == "a" else place for place, label in enumerate(labels, 1)]
    settings = tangent.Hyperparameters.resolve("head2toe", {})
    done = tangent.fit(where, Source(images, labels), settings, scratch=tmp_path, groups=groups)
    assert done.metrics["holdout_accuracy"] is None
