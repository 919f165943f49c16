"""Uploads: what goes from the host to a GPU, in one transfer from memory that is pinned for it.

A transfer from pinned memory needs no wait of the host; one for each tensor would wait each time.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

ALIGNED = 256  # bytes at which each tensor begins, as if it had been allocated by itself
PLACES = 2  # of a stream of uploads: one is filled while the other is on its way


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


class PinnedPlaces:
    """A stream of uploads through a few pinned places in turn.

    A place is filled again once its transfer is over: the host runs ahead of the device by so many
    transfers at most, and no further memory is pinned.
    """

    def __init__(
        self, device: torch.device, marked: Callable[[torch.device], Any] | None = None
    ) -> None:
        """`marked` returns an event that is over once all is done that the device was asked for."""
        self._device, self._marked = device, marked or _marked
        self._places = [torch.empty(0, dtype=torch.uint8)] * PLACES
        self._sent: list[Any] = [None] * PLACES
        self._next = 0

    def uploaded(self, rows: Tensor, index: Tensor) -> Tensor:
        """Return `rows[index]` of a tensor of the host, on the device."""
        at, self._next = self._next, (self._next + 1) % PLACES
        if self._sent[at] is not None:
            self._sent[at].synchronize()
        shape = len(index), *rows.shape[1:]
        place = self._place(at, math.prod(shape) * rows.itemsize).view(rows.dtype).view(shape)
        torch.index_select(rows, 0, index, out=place)
        found = torch.empty(shape, dtype=rows.dtype, device=self._device)
        found.copy_(place, non_blocking=True)
        self._sent[at] = self._marked(self._device)
        return found

    def _place(self, at: int, size: int) -> Tensor:
        """Return so many bytes of a place, which grows where it is too small."""
        if len(self._places[at]) < size:
            pinned = self._device.type == "cuda"
            self._places[at] = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
        return self._places[at][:size]


def _marked(device: torch.device) -> Any:
    device_module: Any = torch.get_device_module(device)
    event = device_module.Event()
    event.record(device_module.current_stream(device))
    return event
