"""Maximum pooling (J10): ẏ is ẋ at the place of the maximum."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.jvp.dual import Duals, NoRule, Tangents, rule

T: Any = Tensor


@rule(F.max_pool2d, torch.max_pool2d)
def max_pool2d(
    duals: Duals,
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tangents]:
    """J10 over windows of the last two axes."""
    if return_indices:
        raise NoRule(F.max_pool2d, "returns indices")
    how = (kernel_size, stride or kernel_size, padding, dilation, ceil_mode)
    result, places = F.max_pool2d(x, *how, return_indices=True)
    flat = places.flatten(2)
    return result, [t.flatten(2).gather(2, flat).view(result.shape) for t in duals.of(x) or []]


@rule(T.amax, torch.amax)
def amax(duals: Duals, x: Tensor, dim: Any, keepdim: bool = False) -> tuple[Tensor, Tangents]:
    """J10 over whole axes; equal maxima share the tangent, as in back-propagation."""
    result = x.amax(dim, True)
    at = (x == result).to(x.dtype)
    at = at / at.sum(dim, keepdim=True)
    moved = [(t * at).sum(dim, keepdim=keepdim) for t in duals.of(x) or []]
    return x.amax(dim, keepdim), moved


@rule(F.adaptive_max_pool2d)
def adaptive_max_pool2d(
    duals: Duals, x: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tangents]:
    """J10 over windows that give this output size."""
    result, places = F.adaptive_max_pool2d(x, output_size, return_indices=True)
    flat = places.flatten(2)
    return result, [t.flatten(2).gather(2, flat).view(result.shape) for t in duals.of(x) or []]
