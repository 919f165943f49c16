"""The output of the backbone's frozen part for each training image, cached as a row.

The rows lie in the memory of the device that trains, where there is room for all, or else in a
memory-mapped file: the page cache holds as many as fit, and the process's own memory does not grow
with the dataset.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from tangent.training.room import Room
from tangent.training.scratch_files import mapped_file

BATCH = 64  # images in one forward pass of the prefix


def cached(
    path: Path,
    count: int,
    batches: Iterable[Tensor],
    compute: Callable[[Tensor], Tensor],
    advance: Callable[[int], None],
    room: Room | None = None,
) -> Tensor:
    """Return `compute` of all batches as one tensor (count, …): in the room if it fits, or mapped.

    `advance` is called with the number of finished rows after each batch.

    Raises:
        OSError: the disk has no room for the rows.
        ValueError: the batches do not add up to `count` images.
    """
    rows, done = None, 0
    for images in batches:
        values = compute(images)
        if rows is None:
            rows = numbers((count, *values.shape[1:]), values.dtype, path, room)
        if done + len(values) > count:
            raise ValueError(f"the source gave more than the {count} images it has labels for")
        rows[done : done + len(values)] = values
        done += len(values)
        advance(done)
    if rows is None or done != count:
        raise ValueError(f"the source gave {done} images and has labels for {count}")
    return rows


def numbers(
    shape: tuple[int, ...], dtype: torch.dtype, path: Path, room: Room | None = None
) -> Tensor:
    """Return memory for numbers of this shape: in the room if they fit, or a new file's.

    Raises:
        OSError: the disk has no room for them.
    """
    place = None if room is None else room.take(shape, dtype)
    if place is None:
        place = mapped_file(path, math.prod(shape), dtype).view(shape)
    return place
