"""The features `psi(x)` that the head reads: the output is linear in them for any head.

For every scope but `head2toe`, psi = [phi, 1] with phi the backbone's pooled features. `head2toe`
(after Evci et al. 2022) inserts the pooled maps of several depths: [phi, maps, 1].

At scopes that are linear in psi, its entries are multiples of a grid (`Grid`). Sums of products of
such numbers are exact in float64, so a dataset's statistics do not depend on the order of its
images, and the contribution of an image can be subtracted again bit for bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangent.backbones.blocks import depths
from tangent.backbones.casting import wide
from tangent.errors import Overflow

MAX_MAPS = 4  # depths, spread evenly over the backbone
MAX_ENTRIES = 512  # of the map of one depth
EXACT = 2.0**53  # float64 represents every whole number below it
ALONE = 16  # images in one pass when an image's bits must not depend on its batch


@dataclass(frozen=True)
class Fineness:
    """The steps of a grid, in units of a feature's usual size."""

    pooled: float  # of phi and the constant
    maps: float
    is_compact: bool  # component files keep sums as whole units


# Accuracy is the same; products of maps, which are most of G, are 16 bits shorter. With features of
# r times their usual size, sums over n images are exact while n r² < 2^37 = 137 billion.
COARSE = Fineness(2.0**-8, 2.0**-6, is_compact=True)
FINE = Fineness(2.0**-14, 2.0**-14, is_compact=False)  # of all spaces before there was COARSE
GRIDS = COARSE, FINE


@dataclass(frozen=True)
class Grid:
    """Steps (D,), powers of two: psi is rounded once to multiples of them, in its own type.

    The products psi_i psi_j are whole multiples of the product of two steps. By Cauchy and Schwarz
    no partial sum of them exceeds the largest sum of psi_i²; below 2^53 steps² all are exact.
    """

    steps: Tensor  # float64
    is_compact: bool = False
    _placed: dict[tuple[torch.device, torch.dtype], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def round(self, psi: Tensor) -> Tensor:
        """psi (B, D) rounded to the grid."""
        key = psi.device, psi.dtype
        if key not in self._placed:  # an upload in every pass would have the host wait for it
            self._placed[key] = self.steps.to(psi)
        steps = self._placed[key]
        return (psi / steps).round_() * steps

    def holds(self, gram: Tensor, sums: Tensor, counts: Tensor) -> bool:
        """True if G (D, D) and s (K, D) of so many images can be exact sums of psi on the grid.

        They must be multiples of the steps within the bounds of Cauchy and Schwarz, which hold for
        partial sums too, and the constant feature must count the images.
        """
        units, squares = torch.outer(self.steps, self.steps), gram.diagonal()
        whole = not torch.remainder(gram / units, 1.0).any()
        whole = whole and not torch.remainder(sums / self.steps, 1.0).any()
        slack = 1 + 1e-12  # of these products themselves
        within = bool((gram**2 <= slack * torch.outer(squares, squares)).all())
        within = within and bool((sums**2 <= slack * torch.outer(counts, squares)).all())
        small = bool((squares / self.steps**2 < EXACT).all())
        return whole and within and small and gram[-1, -1].item() == counts.sum().item()

    def check(self, squares: Tensor, images: float) -> None:
        """Check by G's diagonal (D,) that no sum was rounded.

        Raises:
            Overflow: the features are too large for so many images.
        """
        largest = (squares / self.steps.to(squares.device) ** 2).max().item()
        if not largest < EXACT:
            raise Overflow(
                f"the features of {images:.0f} images are too large for exact statistics (their "
                f"squares reach {largest:.3g} steps, the maximum is 2^53): split the dataset"
            )


def grid_of(phi: Tensor, width: int, fineness: Fineness = COARSE) -> Grid:
    """The grid of features psi of `width` entries, given phi (B, d) of the calibration images.

    The step of phi follows from its usual size in the base; standardised maps and the constant have
    a step of their own.
    """
    steps = torch.full((width,), fineness.maps, dtype=torch.float64)
    steps[: phi.shape[1]] = steps[-1] = fineness.pooled
    usual = phi.double().square().mean().sqrt().item()
    if 0 < usual < math.inf:
        steps[: phi.shape[1]] *= 2.0 ** round(math.log2(usual))
    return Grid(steps, fineness.is_compact)


def in_fixed_batches(readout: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Features (B, D), computed so that the bits of an image do not depend on its batch.

    The kernels of a pass, and so the order of its sums, depend on the number of images. So every
    pass has the same number of images; the last one is padded.
    """
    features = []
    for chunk in images.split(ALONE):
        missing = ALONE - len(chunk)
        full = F.pad(chunk, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else chunk
        features.append(readout(full)[: len(chunk)])
    return torch.cat(features)


def with_constant(features: Tensor) -> Tensor:
    """[features, 1] in the features' dtype: the constant carries the head's bias."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def head2toe(model: nn.Module, images: Tensor) -> Tensor:
    """[phi, pooled maps, 1]; every map is standardised per image, so no dataset sets its scale."""
    features, maps = depths(model, images)
    pooled = [_pooled(maps[i]) for i in _spread(len(maps))]
    return with_constant(torch.cat([features, *pooled], dim=1))


def _spread(count: int) -> list[int]:
    """Indices of at most MAX_MAPS depths, evenly spaced, the last one among them."""
    chosen = min(MAX_MAPS, count)
    return sorted({count - 1 - round(i * count / chosen) for i in range(chosen)})


def _pooled(features: Tensor) -> Tensor:
    """A map (B, C, H, W) averaged on the finest grid within MAX_ENTRIES values, standardised."""
    _, channels, height, width = features.shape
    grid = max(1, min(height, width, int((MAX_ENTRIES / channels) ** 0.5)))
    flat = wide(F.adaptive_avg_pool2d(features, grid).flatten(1))
    return F.layer_norm(flat, flat.shape[1:])
