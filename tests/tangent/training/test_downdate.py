"""Downdating a component: the bytes of a training on the changed dataset, without training."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tangent
from tangent.backbones.features import ALONE, Grid, grid_of, in_fixed_batches
from tangent.components.hyperparameters import obstacle_to_downdating
from tangent.components.statistics import less, measure, relabelled, total
from tangent.errors import NotDowndatable, Overflow
from tests.support.models import fitted, source, space

LABELS = ["cat", "dog", "cat", "eel", "dog", "cat", "dog", "gnu", "cat", "dog"]
scopes = pytest.mark.parametrize("scope", ["head", "head2toe"])
seeds = st.integers(0, 2**31)


@pytest.mark.parametrize("l2", [1e-4, "auto"])
@pytest.mark.parametrize("views", [1, 4])
@pytest.mark.parametrize("gone", [[0], [3], [9], [1, 3, 4]])
@scopes
def test_a_component_without_some_images_has_the_bytes_of_never_having_seen_them(
    scope, gone, views, l2, tmp_path
):
    where, data = space("mini", scope, ("owl",)), source(16, LABELS)
    whole = fitted(where, data, tmp_path, views=views, l2=l2).component
    rest = [i for i in range(len(LABELS)) if i not in gone]
    never = fitted(where, data.chosen(rest), tmp_path, views=views, l2=l2).component
    images, labels = data.pixels[gone], [LABELS[i] for i in gone]
    assert tangent.without(where, whole, images, labels).to_bytes() == never.to_bytes()
    assert whole.to_bytes() != never.to_bytes()


@scopes
def test_images_can_go_one_by_one_in_any_order(scope, tmp_path):
    where, data = space("resnet_basic", scope), source(32, LABELS)
    never = fitted(where, data.chosen([0, 1, 3, 6, 7, 9]), tmp_path).component.to_bytes()
    for order in ([2, 4, 5, 8], [8, 2, 5, 4]):
        left = fitted(where, data, tmp_path).component
        for i in order:
            left = tangent.without(where, left, data.pixels[i : i + 1], [LABELS[i]])
        assert left.to_bytes() == never


@pytest.mark.parametrize("l2", [1e-4, "auto"])
@pytest.mark.parametrize("views", [1, 4])
@pytest.mark.parametrize("come", [[0], [9], [1, 3, 4]])
@scopes
def test_a_component_with_further_images_has_the_bytes_of_having_had_them_from_the_start(
    scope, come, views, l2, tmp_path
):
    where, data = space("mini", scope, ("owl",)), source(16, LABELS)
    whole = fitted(where, data, tmp_path, views=views, l2=l2).component
    rest = [i for i in range(len(LABELS)) if i not in come]
    part = fitted(where, data.chosen(rest), tmp_path, views=views, l2=l2).component
    images, labels = data.pixels[come], [LABELS[i] for i in come]
    added = tangent.share(where, images, labels, views=views)
    assert tangent.changed(where, part, added=added).to_bytes() == whole.to_bytes()


@scopes
def test_an_image_under_another_label_gives_the_bytes_of_having_come_with_it(scope, tmp_path):
    where, data, other = space("mini", scope), source(16, LABELS), source(16, LABELS)
    other.labels = ["gnu", *LABELS[1:]]
    whole = fitted(where, data, tmp_path).component
    old, new = (
        tangent.share(where, data.pixels[:1], [label], views=1) for label in (LABELS[0], "gnu")
    )
    expected = fitted(where, other, tmp_path).component.to_bytes()
    assert tangent.changed(where, whole, removed=old, added=new).to_bytes() == expected


def test_images_whose_sums_would_be_rounded_are_not_added(tmp_path):
    where, data = space("mini", "head"), source(16, LABELS)
    component = fitted(where, data, tmp_path).component
    share = tangent.share(where, data.pixels[:1], LABELS[:1], views=1)
    huge = total([share], [2.0**60])
    with pytest.raises(Overflow, match="too large for exact statistics"):
        tangent.changed(where, component, added=huge)


@pytest.mark.parametrize("l2", [1e-4, "auto"])
@pytest.mark.parametrize("names", [{"cat": "zebra"}, {"cat": "dog"}, {"eel": "gnu", "dog": "eel"}])
@scopes
def test_renamed_and_merged_labels_give_the_bytes_of_having_had_them_from_the_start(
    scope, names, l2, tmp_path
):
    where, data = space("mini", scope, ("cat", "owl")), source(16, LABELS)
    other = source(16, LABELS)
    other.labels = [names.get(label, label) for label in LABELS]
    expected = fitted(where, other, tmp_path, l2=l2).component
    whole = fitted(where, data, tmp_path, l2=l2).component
    assert tangent.renamed(where, whole, names).to_bytes() == expected.to_bytes()


@pytest.mark.parametrize(
    ("scope", "given", "why"),
    [
        ("head", {"solver": "lbfgs"}, "solver lbfgs iterates"),
        ("head", {"alpha": 2.0}, "alpha other than 1"),
        ("head", {"views": 3}, "powers of two"),
        ("last-block", {"max_iterations": 2}, "not linear"),
    ],
)
def test_a_component_of_another_training_is_refused_with_the_reason(scope, given, why, tmp_path):
    where, data = space("mini", scope), source(16, LABELS)
    component = fitted(where, data, tmp_path, **given).component
    assert why in obstacle_to_downdating(scope, component.hyperparameters)
    with pytest.raises(NotDowndatable, match=why):
        tangent.without(where, component, data.pixels[:1], LABELS[:1])


def test_images_of_another_dataset_are_refused(tmp_path):
    where, data = space("mini", "head"), source(16, LABELS)
    component = fitted(where, data, tmp_path).component
    with pytest.raises(NotDowndatable, match="1 images of label 'eel', 2 are to be removed"):
        tangent.without(where, component, data.pixels[:2], ["eel", "eel"])
    with pytest.raises(NotDowndatable, match="no image is left"):
        tangent.without(where, component, data.pixels, LABELS)
    with pytest.raises(NotDowndatable, match="no statistics"):
        tangent.renamed(where, replace(component, statistics=None), {"cat": "dog"})


@settings(deadline=None, max_examples=30)
@given(seed=seeds, count=st.integers(2, 40), usual=st.floats(1e-3, 1e3))
def test_sums_on_the_grid_are_exact_in_any_order_and_subtract_to_the_last_bit(seed, count, usual):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(count, 7, generator=generator)
    raw[:, :4] *= usual
    psi = grid_of(raw[:, :4], 7).round(raw)
    names = [f"label {i % 3}" for i in range(count)]
    order = torch.randperm(count, generator=generator).tolist()
    one = measure(psi, names)
    other = total([measure(psi[i : i + 1], [names[i]]) for i in order], [1.0] * count)
    assert torch.equal(one.gram, other.gram) and torch.equal(one.sums, other.sums)
    rest = less(one, measure(psi[:1], names[:1]))
    never = measure(psi[1:], names[1:])
    assert torch.equal(rest.gram, never.gram) and torch.equal(rest.sums, never.sums)
    assert rest.counts == never.counts


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_rounding_to_the_grid_moves_a_feature_by_half_a_step_at_most(seed):
    raw = torch.randn(9, 5, generator=torch.Generator().manual_seed(seed))
    grid = grid_of(raw[:, :3], 5)
    moved = (grid.round(raw).double() - raw.double()).abs()
    assert (moved <= grid.steps / 2).all()
    assert torch.equal(grid.round(grid.round(raw)), grid.round(raw))


def test_sums_beyond_what_float64_holds_are_refused():
    grid = Grid(torch.full((2,), 2.0**-14, dtype=torch.float64))
    grid.check(measure(torch.tensor([[1.0, 2.0]]), ["a"]).squares, 1)
    with pytest.raises(Overflow, match=r"features of 3 images are too large.*split the dataset"):
        grid.check(torch.ones(2, dtype=torch.float64) * 2.0**25, 3)


@pytest.mark.parametrize("name", ["resnet_micro_32", "vit_micro_32"])
def test_the_bits_of_a_readout_do_not_depend_on_the_images_beside_it(name):
    where = tangent.open_space(name, "head2toe")
    pixels = torch.rand(2 * ALONE + 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = where.readout_alone(pixels)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(1))
    assert torch.equal(where.readout_alone(pixels[order]), whole[order])
    for i in (0, 17, len(pixels) - 1):
        assert torch.equal(where.readout_alone(pixels[i : i + 1])[0], whole[i])


def test_every_pass_has_the_same_number_of_images():
    sizes = []

    def readout(images):
        sizes.append(len(images))
        return images.flatten(1)

    pixels = torch.rand(ALONE + 1, 3, 2, 2)
    assert torch.equal(in_fixed_batches(readout, pixels), pixels.flatten(1))
    assert sizes == [ALONE, ALONE]


def test_relabelling_keeps_the_images():
    found = relabelled(measure(torch.eye(3), ["a", "b", "c"]), {"c": "a"})
    assert found.counts == {"a": 2.0, "b": 1.0}
    assert torch.equal(found.sums, torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=torch.float64))


def test_statistics_that_no_images_have_are_told_from_those_that_some_do():
    psi = Grid(torch.full((3,), 2.0**-14, dtype=torch.float64)).round(torch.randn(9, 3))
    psi[:, -1] = 1.0
    names = ["a"] * 5 + ["b"] * 4
    where = Grid(torch.full((3,), 2.0**-14, dtype=torch.float64))
    found = measure(psi, names)
    counts = torch.tensor([5.0, 4.0], dtype=torch.float64)
    assert where.holds(found.gram, found.sums, counts)
    large = found.gram.clone()
    large[0, 1] = large[1, 0] = 1e14
    for gram, sums, images in (
        (found.gram, found.sums / 3, counts),
        (found.gram, found.sums + 1e20, counts),
        (found.gram / 3, found.sums, counts),
        (large, found.sums, counts),
        (found.gram, found.sums, counts + 1),
        (found.gram * 2.0**40, found.sums, counts * 2.0**40),
    ):
        assert not where.holds(gram, sums, images)
