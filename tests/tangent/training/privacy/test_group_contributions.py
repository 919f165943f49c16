"""A group of images changes the sums by no more than one image may, whatever is in it."""

import pytest
import torch

from tangent.training.privacy.contributions import Bounds, cut_coordinates
from tangent.training.privacy.group_contributions import contribution
from tangent.training.privacy.public_geometry import public_geometry
from tangent.training.privacy.release import private_statistics, summed
from tests.support.models import space
from tests.support.private_sums import features, terms

SIZES = (1, 2, 7, 40)
MECHANISMS = ("class_sums", "adassp")


def labels_of(count: int) -> list[str]:
    return [("cat", "dog", "eel")[i * i % 3] for i in range(count)]


def grouped(mechanism: str = "class_sums", scope: str = "head2toe"):
    asked = terms(unit="group", mechanism=mechanism)
    return asked, Bounds.of(asked), public_geometry(space("mini", scope))


def difference(one, other) -> tuple[float, float, float]:
    """The lengths of the changes of coordinates, counts and the half of the products."""
    sums = (one.sums - other.sums).double()
    products = 0.0 if one.products is None else (one.products - other.products).double().norm()
    return sums[:, :-1].norm().item(), sums[:, -1].norm().item(), float(products)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("size", SIZES)
def test_a_group_added_or_removed_changes_the_sums_within_the_bounds_of_one_image(size, mechanism):
    asked, bounds, geometry = grouped(mechanism)
    labels = labels_of(6 + size)
    psi, units = features(labels), ["a", "a", "b", "b", "b", "c"] + ["new"] * size
    with_it = summed(psi, labels, asked, geometry, bounds, units)
    without = summed(psi[:6], labels[:6], asked, geometry, bounds, units[:6])
    coordinates, counts, products = difference(with_it, without)
    assert 0.9 * bounds.count < counts <= bounds.count
    assert coordinates <= bounds.coordinates
    assert products <= bounds.products
    assert Bounds.of(asked).mu <= asked.mu


def test_many_equal_images_of_a_group_are_as_long_as_one_and_no_longer():
    asked, bounds, geometry = grouped()
    psi = features(["cat"]).repeat(50, 1)
    alone = summed(psi[:1], ["cat"], terms(), geometry, bounds)
    many = summed(psi, ["cat"] * 50, asked, geometry, bounds, ["g"] * 50)
    assert (many.sums - alone.sums).abs().max() <= 1
    assert alone.sums[0, :-1].double().norm() > 0.99 * bounds.coordinates


def test_a_group_of_one_label_counts_as_the_mean_of_its_images():
    _, bounds, geometry = grouped()
    cut = cut_coordinates(features(["cat"] * 4, size=0.5), geometry, bounds)
    made = contribution(cut, torch.tensor([2, 2, 2, 2]), bounds)
    assert made.columns.tolist() == [2]
    assert (made.coordinates[0] - cut.double().mean(0)).abs().max() <= 1
    assert bounds.count - 1 <= made.counts.item() <= bounds.count


def test_the_order_of_images_and_the_groups_beside_it_change_no_bit_of_a_group():
    asked, bounds, geometry = grouped()
    labels = labels_of(30)
    psi, units = features(labels), [f"g{i % 7}" for i in range(30)]
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = [labels[i] for i in order], [units[i] for i in order]
    whole = summed(psi, labels, asked, geometry, bounds, units)
    assert torch.equal(
        whole.sums, summed(psi[order], shuffled[0], asked, geometry, bounds, shuffled[1]).sums
    )
    parts = torch.zeros_like(whole.sums)
    for name in set(units):
        mine = [i for i, unit in enumerate(units) if unit == name]
        own = [labels[i] for i in mine]
        parts += summed(psi[mine], own, asked, geometry, bounds, [name] * len(mine)).sums
    assert torch.equal(whole.sums, parts)


def test_images_of_labels_that_are_not_public_count_in_no_group():
    asked, bounds, geometry = grouped()
    psi = features(["cat", "yak", "cat"])
    found = summed(psi, ["cat", "yak", "cat"], asked, geometry, bounds, ["g", "g", "g"])
    left = summed(psi[[0, 2]], ["cat", "cat"], asked, geometry, bounds, ["g", "g"])
    assert torch.equal(found.sums, left.sums)


def test_groups_must_be_known_where_they_are_the_unit():
    where = space("mini", "head2toe")
    with pytest.raises(ValueError, match="needs the group of each image"):
        private_statistics(where, features(["cat"]), ["cat"], terms(unit="group"))
    found = private_statistics(where, features(["cat"]), ["cat"], terms(unit="group"), units=["a"])
    assert set(found.counts) == {"cat", "dog", "eel"}
