"""The output of the backbone's frozen part for each training image, cached on disk.

The rows lie in a memory-mapped file: the page cache holds as many as fit, and the process's own
memory does not grow with the dataset.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

from tangent.training.scratch_files import mapped_file

BATCH = 64  # images in one forward pass of the prefix


def cached(
    path: Path,
    count: int,
    batches: Iterable[Tensor],
    compute: Callable[[Tensor], Tensor],
    advance: Callable[[int], None],
) -> Tensor:
    """Return `compute` of all batches as one mapped tensor (count, …).

    `advance` is called with the number of finished rows after each batch.

    Raises:
        OSError: the disk has no room for the rows.
        ValueError: the batches do not add up to `count` images.
    """
    rows, done = None, 0
    for images in batches:
        values = compute(images).cpu()
        if rows is None:
            size = count * values.shape[1:].numel()
            flat = mapped_file(path, size, values.dtype)
            rows = flat.view(count, *values.shape[1:])
        if done + len(values) > count:
            raise ValueError(f"the source gave more than the {count} images it has labels for")
        rows[done : done + len(values)] = values
        done += len(values)
        advance(done)
    if rows is None or done != count:
        raise ValueError(f"the source gave {done} images and has labels for {count}")
    return rows
