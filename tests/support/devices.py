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
    precision: str = "float32",
) -> tangent.Space:
    """A space over the case's model on a device of this machine."""
    of = backbone(name, dtype)
    return tangent.Space(of, scope, declared, device=str(device), precision=precision)
