"""Uploads: what goes from the host to a GPU, in one transfer from memory that is pinned for it.

A transfer from pinned memory needs no wait of the host; one for each tensor would wait each time.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

ALIGNED = 256  # bytes at which each tensor begins, as if it had been allocated by itself


def uploaded(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return the tensors on the device, in their own types; those that are there already as is."""
    if device.type != "cuda":
        return [tensor.to(device) for tensor in tensors]
    found = iter(_together([tensor for tensor in tensors if tensor.is_cpu], device))
    return [next(found) if tensor.is_cpu else tensor.to(device) for tensor in tensors]


def _together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return the tensors as parts of one upload."""
    sizes = [-(-tensor.nbytes // ALIGNED) * ALIGNED for tensor in tensors]
    buffer = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=device.type == "cuda")
    for part, tensor in zip(_parts(buffer, tensors, sizes), tensors, strict=True):
        part.copy_(tensor)
    return _parts(buffer.to(device, non_blocking=True), tensors, sizes)


def _parts(buffer: Tensor, like: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
    """Return the places of a buffer as tensors with the types and shapes of `like`."""
    places = buffer.split(list(sizes))
    return [
        place[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for place, tensor in zip(places, like, strict=True)
    ]


def uploaded_pixels(pixels: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Return the pixels of images, uint8 (height, width, 3) each, as one tensor on the device."""
    shape = len(pixels), *pixels[0].shape
    buffer = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.stack(pixels, out=buffer.numpy())
    return buffer.to(device, non_blocking=True)
