"""The features that the head reads: `psi(x)`, to which the output is linear in the head's tangent.

For every scope but `head2toe`, psi = [phi, 1] with phi the backbone's pooled features. `head2toe`
(after Evci et al. 2022) puts the pooled maps of all depths between: [phi, maps, 1].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangent.backbone import depths

MAPS = 4  # depths read, the deepest ones spread evenly over the backbone
ENTRIES = 512  # of one depth, at most


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
