"""A backbone in another number format: its weights rounded once, for answers."""

import copy
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from tangent.backbones.loading import Backbone

NARROW = torch.bfloat16, torch.float16


def wide(value: Tensor) -> Tensor:
    """Return the tensor in 32 bits if it has 16, else itself: for sums, which lose digits first."""
    return value.float() if value.dtype in NARROW else value


def cast(backbone: Backbone, to: torch.dtype) -> Backbone:
    """Return the backbone with its weights and buffers in this type; the given one stays as it is.

    The fingerprint stays, too: it is of the weights before they were rounded.
    """
    memo: dict[int, Any] = {
        id(tensor): _rounded(tensor, to)
        for tensor in chain(backbone.model.parameters(), backbone.model.buffers())
        if tensor.is_floating_point()
    }
    return replace(backbone, model=copy.deepcopy(backbone.model, memo))


def _rounded(tensor: Tensor, to: torch.dtype) -> Tensor:
    """Return the tensor in this type, with its layout; a parameter stays one."""
    rounded = tensor.detach().to(to)
    if not isinstance(tensor, nn.Parameter):
        return rounded
    return nn.Parameter(rounded, requires_grad=tensor.requires_grad)
