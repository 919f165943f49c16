"""Augmentation by fixed views: training with views equals training on the augmented images."""

import pytest
import torch

import tangent
from tangent.training.augmentation import AugmentedSource, augmented
from tests.support.models import Source, fitted, images, relative, source, space

LABELS = ["cat", "dog", "eel", "cat", "dog", "cat"]


def shown(data: Source, count: int) -> Source:
    """The views as a dataset of their own."""
    pixels = torch.cat([augmented(data.pixels, number) for number in range(count)])
    return Source(pixels, data.labels * count)


def test_view_0_is_the_image_and_view_1_its_mirror_image():
    x = images(16, 3)
    assert torch.equal(augmented(x, 0), x)
    assert torch.equal(augmented(x, 1), x.flip(-1))


def test_a_view_is_a_shift_by_up_to_an_eighth_mirrored_at_the_border():
    x = torch.arange(256.0).view(1, 1, 16, 16)
    seen = {tuple(augmented(x, number).flatten().tolist()) for number in range(12)}
    assert len(seen) == 12
    for number in range(2, 12):
        middle = augmented(x, number)[0, 0, 4:12, 4:12]
        steps = {abs((b - a).item()) for a, b in zip(middle[0], middle[0, 1:], strict=False)}
        assert steps == {1.0}  # rows stay rows
        top, left = divmod(int(min(middle[0, 0], middle[0, -1])), 16)
        assert abs(top - 4) <= 2 and abs(left - 4) <= 2


def test_the_views_of_an_image_depend_on_no_other_image():
    x = images(16, 5)
    for number in range(6):
        assert torch.equal(augmented(x, number)[2:3], augmented(x[2:3], number))


@pytest.mark.parametrize("size", [2, 4, 100])
def test_the_views_come_one_after_the_other(size):
    data = source(16, LABELS)
    batches = list(AugmentedSource(data, 3).batches(size))
    assert torch.equal(torch.cat(batches), shown(data, 3).pixels)


@pytest.mark.parametrize(
    ("scope", "how"),
    [
        ("head", {"l2": 1e-4}),  # a choice would count four images for each
        ("head2toe", {"alpha": 3.0}),
        ("head", {"loss": "cross_entropy", "tolerance": 1e-10}),
        ("last-block", {"l2": 1e-2, "tolerance": 1e-10}),
    ],
)
def test_training_on_views_is_training_on_the_images_that_they_show(scope, how, tmp_path):
    where, data = space("mini", scope), source(16, LABELS)
    one = fitted(where, data, tmp_path, views=4, **how).component
    other = fitted(where, shown(data, 4), tmp_path, **how).component
    assert relative(one.head, other.head) <= 1e-7
    for name, direction in one.backbone.items():
        assert relative(direction, other.backbone[name]) <= 1e-5
    assert one.labels == {"cat": 3, "dog": 2, "eel": 1}


def test_joint_over_components_with_views_is_joint_training_with_views(tmp_path):
    where, data = space("mini", "head2toe"), source(16, LABELS)
    halves = [data.chosen([0, 1, 2]), data.chosen([3, 4, 5])]
    parts = [(fitted(where, half, tmp_path, views=3).component, None) for half in halves]
    together = fitted(where, data, tmp_path, views=3).component
    composed = tangent.compose(where, parts, "joint", shas=["a", "b"])
    assert relative(composed.head, together.head) <= 1e-8


def test_an_image_is_held_out_with_all_its_views(tmp_path):
    where = space("mini", "head")
    data = source(16, ["cat", "dog"] * 20)
    metrics = fitted(where, data, tmp_path, views=2).metrics
    kept = data.chosen([i for i in range(40) if i // 2 % 10 != 9])
    held_out = data.chosen([i for i in range(40) if i // 2 % 10 == 9])
    trained = fitted(where, kept, tmp_path, views=2).component
    delta = tangent.compose(where, [(trained, None)], "average", shas=["a"])
    found = where.logits(shown(held_out, 2).pixels, delta).argmax(1).tolist()
    hits = [delta.labels[i] == name for i, name in zip(found, held_out.labels * 2, strict=True)]
    assert metrics["holdout_accuracy"] == pytest.approx(sum(hits) / len(hits))
