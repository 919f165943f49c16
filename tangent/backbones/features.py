"""The features that the head reads: `psi(x)`, to which the output is linear in the head's tangent.

For every scope but `head2toe`, psi = [phi, 1] with phi the backbone's pooled features. `head2toe`
(after Evci et al. 2022) puts the pooled maps of all depths between: [phi, maps, 1].

At scopes that are linear in psi, its entries are multiples of a grid (`Grid`): sums of products of
such numbers are exact in float64, so a dataset's statistics are the same in whatever order its
images come, and what an image added can be taken away again to the last bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangent.backbones.loading import depths
from tangent.errors import Overflow

MAPS = 4  # depths read, the deepest ones spread evenly over the backbone
ENTRIES = 512  # of one depth, at most
STEP = 2.0**-14  # of the grid, in units of a feature's usual size
EXACT = 2.0**53  # float64 holds every whole number below
ALONE = 16  # images in one pass when each one's bits must not depend on its company


@dataclass(frozen=True)
class Grid:
    """Steps (D,), powers of two: psi is rounded to multiples of them, once, in its own type.

    The products psi_i psi_j are whole multiples of the product of two steps. By Cauchy and Schwarz
    no partial sum of them exceeds the largest sum of psi_i²; below 2^53 steps² all are exact. With
    features of r times their usual size that is n r² < 2^25 = 33.5 million images.
    """

    steps: Tensor  # float64

    def round(self, psi: Tensor) -> Tensor:
        """psi (B, D) on the grid."""
        steps = self.steps.to(psi)
        return (psi / steps).round_() * steps

    def holds(self, gram: Tensor, sums: Tensor, counts: Tensor) -> bool:
        """Whether G (D, D) and s (K, D) of so many images can be exact sums of psi on the grid.

        Multiples of the steps, within the bounds of Cauchy and Schwarz, which the partial sums are
        under as well; and the constant feature counts the images.
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
        """Refuse sums that may have been rounded, by G's diagonal (D,).

        Raises:
            Overflow: the features are too large for so many images.
        """
        largest = (squares / self.steps.to(squares.device) ** 2).max().item()
        if not largest < EXACT:
            raise Overflow(
                f"the features of {images:.0f} images are too large for exact statistics (their "
                f"squares reach {largest:.3g} steps, the most is 2^53): split the dataset"
            )


def grid_of(phi: Tensor, width: int) -> Grid:
    """The grid of readouts of `width` entries whose first ones are like phi (B, d) of probe images.

    phi has one step, from its usual size in the base alone; maps, which are standardised, and the
    constant have another.
    """
    steps = torch.full((width,), STEP, dtype=torch.float64)
    usual = phi.double().square().mean().sqrt().item()
    if 0 < usual < math.inf:
        steps[: phi.shape[1]] *= 2.0 ** round(math.log2(usual))
    return Grid(steps)


def in_fixed_batches(readout: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Readouts (B, D) whose bits depend on each image alone, whatever comes with it.

    The kernels that a pass runs, and so the order of its sums, depend on the number of images; so
    each pass has the same number, the last one filled up.
    """
    found = []
    for chunk in images.split(ALONE):
        missing = ALONE - len(chunk)
        full = F.pad(chunk, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else chunk
        found.append(readout(full)[: len(chunk)])
    return torch.cat(found)


def with_constant(features: Tensor) -> Tensor:
    """[features, 1] in the features' dtype: the constant carries the head's bias."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def head2toe(model: nn.Module, images: Tensor) -> Tensor:
    """[phi, pooled maps, 1], each depth standardised per image so that no data sets its scale."""
    features, maps = depths(model, images)
    pooled = [_pooled(maps[i]) for i in _spread(len(maps))]
    return with_constant(torch.cat([features, *pooled], dim=1))


def _spread(count: int) -> list[int]:
    """Indices of at most MAPS depths, evenly spaced, the last one among them."""
    chosen = min(MAPS, count)
    return sorted({count - 1 - round(i * count / chosen) for i in range(chosen)})


def _pooled(features: Tensor) -> Tensor:
    """A map (B, C, H, W) averaged on the finest grid within ENTRIES values, standardised."""
    _, channels, height, width = features.shape
    grid = max(1, min(height, width, int((ENTRIES / channels) ** 0.5)))
    flat = F.adaptive_avg_pool2d(features, grid).flatten(1)
    return F.layer_norm(flat, flat.shape[1:])
