"""The one look at private images: their sums with noise. Everything else is made from these.

A release has for every public label the noisy sum of cut coordinates and the noisy count; under
`adassp` also the noisy upper triangle of the sum of their products. Statistics of features follow:

    G = W + sum_l s_l s_lᵀ / n_l

with W the scatter within labels. `class_sums` takes n(S + floor I) for W, by the images that are
nobody's; the scatter between labels follows from the noisy sums. `adassp` takes the noisy products
and adds as much to the diagonal as the noise can have taken from it (Wang 2018).
"""

import math
import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.backbones.features import EXACT
from tangent.components.privacy import Privacy
from tangent.components.statistics import Statistics, pack
from tangent.errors import BadPrivacy, Overflow
from tangent.spaces.space import Space
from tangent.training.privacy.contributions import (
    LOG2_SIGMA,
    LOG2_SIGMA_PRODUCTS,
    Bounds,
    cut_coordinates,
    factors_of_products,
)
from tangent.training.privacy.discrete_gaussian import Randomness, discrete_gaussian
from tangent.training.privacy.group_contributions import contribution, places_of
from tangent.training.privacy.public_geometry import PublicGeometry, public_geometry

ROWS = 512  # at a time


@dataclass(frozen=True)
class Release:
    """Sums in whole numbers; private once noise was added, and to be kept secret before."""

    sums: Tensor  # (K, D) int64: cut coordinates, and last the counts in their units
    products: Tensor | None  # (D - 1, D - 1) int64: upper triangle

    def with_noise(self, randomness: Randomness = os.urandom) -> "Release":
        """Return the release that may be shown.

        The randomness is used once and kept nowhere: with it, anyone could take the noise away.
        """
        noise = discrete_gaussian(LOG2_SIGMA, tuple(self.sums.shape), randomness)
        sums, products = self.sums + torch.from_numpy(noise), self.products
        if products is not None:
            rows, columns = torch.triu_indices(*products.shape).unbind()
            drawn = discrete_gaussian(LOG2_SIGMA_PRODUCTS, (len(rows),), randomness)
            products = products.clone()
            products[rows, columns] += torch.from_numpy(drawn)
        return Release(sums, products)


def private_statistics(
    space: Space,
    rows: Tensor,
    row_labels: Sequence[str],
    terms: Privacy,
    randomness: Randomness = os.urandom,
    units: Sequence[Hashable] | None = None,
) -> Statistics:
    """Return statistics of labelled features (n, D) that keep the terms; new ones each time.

    units: the group of each row, under terms of unit `group`.

    Raises:
        BadPrivacy: the scope is not linear, or the noise too large for exact sums.
        Overflow: there are too many images for exact sums.
    """
    geometry, bounds = public_geometry(space), Bounds.of(terms)
    release = summed(rows, row_labels, terms, geometry, bounds, units).with_noise(randomness)
    return statistics_of(release, terms, geometry, bounds, space)


def summed(
    rows: Tensor,
    row_labels: Sequence[str],
    terms: Privacy,
    geometry: PublicGeometry,
    bounds: Bounds,
    units: Sequence[Hashable] | None = None,
) -> Release:
    """Return the exact sums; one unit, added or removed, changes them by `bounds` at most.

    Raises:
        Overflow: there are too many images for exact sums.
        ValueError: the terms are of groups, and the rows have none.
    """
    width = len(geometry.mean)
    if terms.unit == "group" and (units is None or len(units) != len(rows)):
        raise ValueError("a private training of unit group needs the group of each image")
    if len(rows) * max(bounds.products, 1) >= EXACT:
        raise Overflow(f"the products of {len(rows)} images are too many for exact sums")
    sums = torch.zeros(len(terms.labels), width + 1, dtype=torch.int64)
    products = torch.zeros(width, width, dtype=torch.float64) if bounds.products else None
    columns, kept = _of_public_labels(row_labels, terms)
    for index in _together(kept, units if terms.unit == "group" else None):
        cut = cut_coordinates(rows[index], geometry, bounds)
        if terms.unit == "group":
            made = contribution(cut, columns[index], bounds)
            sums[made.columns, :-1] += made.coordinates
            sums[made.columns, -1] += made.counts
            factors = made.factors
        else:
            sums[:, :-1].index_add_(0, columns[index], cut)
            sums[:, -1] += bounds.count * torch.bincount(columns[index], minlength=len(sums))
            factors = factors_of_products(cut, bounds) if bounds.products else None
        if products is not None and factors is not None:
            products += factors.T @ factors
    return Release(sums, None if products is None else products.triu().long())


def _of_public_labels(row_labels: Sequence[str], terms: Privacy) -> tuple[Tensor, Tensor]:
    """Return the column of each row's label, and the places of rows whose label is public."""
    columns = {name: i for i, name in enumerate(terms.labels)}
    found = torch.tensor([columns.get(name, -1) for name in row_labels], dtype=torch.int64)
    return found, (found >= 0).nonzero().flatten()


def _together(kept: Tensor, units: Sequence[Hashable] | None) -> Iterator[Tensor]:
    """Yield places that are looked at together: some of them, or those of one unit."""
    if units is None:
        yield from (some for some in kept.split(ROWS) if len(some))
    else:
        for places in places_of([units[place] for place in kept.tolist()]):
            yield kept[places]


def statistics_of(
    release: Release, terms: Privacy, geometry: PublicGeometry, bounds: Bounds, space: Space
) -> Statistics:
    """Return the statistics of features that a release speaks for, on the space's grid.

    Raises:
        BadPrivacy: the noise is too large for exact sums.
    """
    assert space.grid is not None
    counts = (release.sums[:, -1].double() / bounds.count).round().clamp_min(1)
    moved = release.sums[:, :-1].double() / bounds.units(geometry)
    within = _within(release, moved, counts, geometry, bounds)
    steps = space.grid.steps
    sums = torch.outer(counts, geometry.mean) + moved @ geometry.unwhitening
    sums = torch.cat([(sums / steps[:-1]).round() * steps[:-1], counts[:, None]], dim=1)
    gram = sums.T @ (sums / counts[:, None])
    gram[:-1, :-1] += geometry.unwhitening @ within @ geometry.unwhitening
    if not (gram.diagonal() / steps**2).max().item() < EXACT / 4:
        raise BadPrivacy(
            f"epsilon {terms.epsilon:g} asks for more noise than exact sums of these features can "
            "hold: raise epsilon, or train at scope head"
        )
    units = torch.outer(steps, steps)
    named = zip(terms.labels, counts.tolist(), strict=True)
    return Statistics(pack((gram / units).round() * units), sums, dict(named))


def _within(
    release: Release, moved: Tensor, counts: Tensor, geometry: PublicGeometry, bounds: Bounds
) -> Tensor:
    """Return W in the coordinates u, positive definite."""
    width = len(geometry.mean)
    if release.products is None:
        return float(counts.sum()) * torch.eye(width, dtype=torch.float64)
    unit = (bounds.units(geometry) * bounds.shrinking) ** 2
    upper = release.products.double() / unit
    noisy = upper + upper.triu(1).T - moved.T @ (moved / counts[:, None])
    values, vectors = torch.linalg.eigh(noisy)
    values = values.clamp_min(0)
    # The largest eigenvalue of the noise is about 2 sigma sqrt(D): no smaller one is believed.
    believed = 2 * 2.0**LOG2_SIGMA_PRODUCTS / unit * math.sqrt(width)
    values = values + max(believed - values.min().item(), 0.0)
    scatter: Tensor = (vectors * values) @ vectors.T
    return scatter
