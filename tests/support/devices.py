"""Spaces over the tiny models, on the devices of this machine."""

from functools import cache

import torch

import tangent
from tests.support.models import backbone


@cache
def space_on(
    device: torch.device,
    name: str,
    scope: str,
    declared: tuple[str, ...] = (),
    dtype: torch.dtype = torch.float64,
) -> tangent.Space:
    """A space over the case's model on a device of this machine."""
    return tangent.Space(backbone(name, dtype), scope, declared, device=str(device))
