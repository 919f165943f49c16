"""Files of numbers that are mapped into memory, with their room on the disk taken beforehand.

Writing to a mapped file that finds no room on the disk kills the process.
"""

import os
from pathlib import Path

import torch
from torch import Tensor


def mapped_file(path: Path, size: int, dtype: torch.dtype) -> Tensor:
    """Return `size` numbers in a new file of that length, mapped into memory.

    Raises:
        OSError: the disk has no room for them; no file is left.
    """
    try:
        with path.open("wb") as file:
            if size:
                os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype)
