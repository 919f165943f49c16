"""The most that one image may change: contributions in whole numbers, within a ball.

An image adds to one label's row of sums: its coordinates u, cut to whole numbers of units in which
the noise has sigma = 2^LOG2_SIGMA, and its count. Under `adassp` it adds its outer product as well.
All lengths are bounded in whole numbers, so no rounding makes a contribution longer than the noise
was made for.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tangent.components.privacy import Privacy
from tangent.training.privacy.public_geometry import PublicGeometry

LOG2_SIGMA = 18  # of the noise on sums and counts
LOG2_SIGMA_PRODUCTS = 26  # of the noise on products of coordinates
COUNT_SHARE = 4  # a count is that fraction of the length: it costs 3 % more noise on the rest
MAX_ENTRY = 2.0**22  # entry before clipping, above every radius
BELOW_ONE = 1 - 2.0**-40  # far more than the rounding of a product


@dataclass(frozen=True)
class Bounds:
    """The largest contribution of an image: lengths in units of the noise's grid."""

    count: int  # units of one image
    coordinates: int  # length of its cut coordinates
    products: int  # length of its outer product; 0 under `class_sums`

    @classmethod
    def of(cls, terms: Privacy) -> "Bounds":
        """Return the bounds that keep the terms.

        mu² of the release is the sum of those of its parts, (length / sigma)² each; every length is
        rounded down. `adassp` gives half to the products.
        """
        shared = terms.mechanism == "adassp"
        mu = terms.mu * math.sqrt(0.5) if shared else terms.mu
        length = math.floor(2**LOG2_SIGMA * mu)
        count = length // COUNT_SHARE
        products = math.floor(2**LOG2_SIGMA_PRODUCTS * mu) if shared else 0
        return cls(count, math.isqrt(length**2 - count**2), products)

    @property
    def mu(self) -> float:
        """The privacy of the release, see `gaussian_mechanism`; at most that of the terms."""
        sums = (self.count**2 + self.coordinates**2) / 4.0**LOG2_SIGMA
        return math.sqrt(sums + (self.products / 2**LOG2_SIGMA_PRODUCTS) ** 2)

    def units(self, geometry: PublicGeometry) -> float:
        """Units of the grid in one unit of u."""
        return self.coordinates / geometry.radius

    @property
    def shrinking(self) -> float:
        """Factor of the cut coordinates before their products are taken."""
        return math.sqrt(self.products) / self.coordinates * BELOW_ONE


def cut_coordinates(psi: Tensor, geometry: PublicGeometry, bounds: Bounds) -> Tensor:
    """Return the coordinates (n, D - 1) of features in int64, none longer than the bound."""
    scale = bounds.units(geometry) * 2.0**-geometry.log2_scale
    whole = (geometry.coordinates(psi) * scale).trunc().clamp(-MAX_ENTRY, MAX_ENTRY)
    # Lengths are exact here: their bits do not depend on the order of a sum, see `PublicGeometry`.
    squares = whole.long().square().sum(1, keepdim=True)
    factor = bounds.coordinates / squares.double().sqrt() * BELOW_ONE
    cut = torch.where(squares > bounds.coordinates**2, whole * factor, whole).trunc().long()
    assert int(cut.square().sum(1).max()) <= bounds.coordinates**2
    return cut


def factors_of_products(cut: Tensor, bounds: Bounds) -> Tensor:
    """Return t (n, D - 1) in whole numbers, float64: no outer product t tᵀ is longer than bounds.

    Half of t tᵀ determines it; its length is at most |t|², that of the whole.
    """
    factors = (cut.double() * bounds.shrinking).trunc()
    assert int(factors.long().square().sum(1).max()) <= bounds.products
    return factors
