"""Room on the device that trains, for what a training reads again and again: rows of all images.

It is a share of the memory that is free there. What does not fit lies in files. All of it is
overwritten before it is let go, as the device's allocator would hand the bytes on.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from tangent.spaces.devices import free_bytes

SHARE = 2  # one part of so many of the memory that is free when a training first asks

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Room:
    """Memory on a device, within a number of bytes; one training has it."""

    def __init__(self, device: torch.device, most_bytes: int | None = None) -> None:
        """`most_bytes`: of all that is taken; None: a share of what is free there."""
        self._device, self._left = device, most_bytes
        self._taken: list[Tensor] = []
        self.was_taken = False  # of what is cleared, too

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor | None:
        """Return memory for numbers of this shape, or None where there is not enough of it."""
        if self._left is None:
            self._left = free_bytes(self._device) // SHARE
        size = math.prod(shape) * dtype.itemsize
        if not 0 < size <= self._left:
            return None
        try:
            place = torch.empty(tuple(shape), dtype=dtype, device=self._device)
        except torch.OutOfMemoryError:  # others took what was free
            self._left = 0
            return None
        self._left -= size
        self._taken.append(place)
        self.was_taken = True
        return place

    def holds(self, values: Tensor) -> bool:
        """Return whether these numbers lie in this room."""
        return any(values is place for place in self._taken)

    def clear(self) -> None:
        """Overwrite all that was taken with zeros, and give the memory back to the device.

        The tensors are empty from then on, whoever still has them.
        """
        if not self._taken:
            return
        for place in self._taken:
            place.zero_()
            place.set_()  # type: ignore[call-overload]
        self._taken.clear()
        give_back = getattr(torch.get_device_module(self._device), "empty_cache", None)
        if give_back is not None:  # other processes compute there too
            give_back()


def run_in_room(device: torch.device, run: Callable[[Room], Result]) -> Result:
    """Return what `run` returns with room on the device, which it has until it returns.

    Where the device's memory runs out beside what `run` took, it is called again with no room: it
    must begin anew each time.

    Raises:
        torch.OutOfMemoryError: the memory does not suffice without any room either.
    """
    room = Room(device)
    try:
        return run(room)
    except torch.OutOfMemoryError:
        if not room.was_taken:
            raise
    finally:
        room.clear()
    log.warning("training from rows in a file: %s has no memory left beside the rows", device)
    return run(Room(device, 0))
