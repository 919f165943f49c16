"""The most that a group of images may change: all of its images together, as one image may.

A group of n_l images of label l adds to the sums

    (sum of its images' cut coordinates, n_l) / |n|        for each l, |n|² = sum of n_l²

in whole numbers: of one label, the mean of its images and a count of one. An image's coordinates
are no longer than the bound, so the group's are no longer than |n| times the bound before they are
divided, and no longer than the bound afterwards; so is the count. Under `adassp` the factors of
its m images are divided by the root of m.

A group is what a manifest says, never what looks alike: a group that depended on other images
would change with them.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.training.privacy.contributions import BELOW_ONE, Bounds, factors_of_products


@dataclass(frozen=True)
class Contribution:
    """The change of the sums by one group, in whole numbers."""

    columns: Tensor  # (k,) int64: the labels
    coordinates: Tensor  # (k, D - 1) int64
    counts: Tensor  # (k,) int64
    factors: Tensor | None  # (m, D - 1) float64, whole: of the products


def contribution(cut: Tensor, columns: Tensor, bounds: Bounds) -> Contribution:
    """Return the contribution of a group by its images' cut coordinates (m, D - 1) and labels."""
    labels, place, numbers = columns.unique(return_inverse=True, return_counts=True)
    length = numbers.double().square().sum().sqrt()
    sums = cut.new_zeros(len(labels), cut.shape[1]).index_add_(0, place, cut)
    within = BELOW_ONE / length
    coordinates = (sums.double() * within).trunc().long()
    counts = (numbers.double() * bounds.count * within).trunc().long()
    assert int(coordinates.square().sum()) <= bounds.coordinates**2
    assert int(counts.square().sum()) <= bounds.count**2
    factors = None
    if bounds.products:
        share = BELOW_ONE * len(cut) ** -0.5
        factors = (factors_of_products(cut, bounds) * share).trunc()
        assert int(factors.long().square().sum()) <= bounds.products
    return Contribution(labels, coordinates, counts, factors)


def places_of(units: Sequence[Hashable]) -> Iterator[Tensor]:
    """Yield the places of each unit's images."""
    found: dict[Hashable, list[int]] = {}
    for place, unit in enumerate(units):
        found.setdefault(unit, []).append(place)
    for places in found.values():
        yield torch.tensor(places)
