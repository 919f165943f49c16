"""The packing of whole numbers and back as compiled loops; see `whole_numbers` for their layout.

Needs numba, which is imported when it first pays.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Return the function as machine code that runs without the interpreter's lock."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Function, njit(cache=True, **options)(function))
    except RuntimeError:  # no folder can hold the machine code
        return cast(Function, njit(**options)(function))


@compiled
def unpack(widths: np.ndarray, words: np.ndarray, out: np.ndarray) -> None:
    """Write the numbers of all blocks to `out`."""
    start, one = np.int64(0), np.uint64(1)
    for block in range(len(widths)):
        width, first = np.int64(widths[block]), block * 64
        mask = (one << np.uint64(width)) - one
        for j in range(min(64, len(out) - first)):
            bit = j * width
            at, shift = start + (bit >> 6), np.uint64(bit & 63)
            value = np.uint64(0)
            if width > 0:
                value = np.uint64(words[at]) >> shift
                if (bit & 63) + width > 64:
                    value |= np.uint64(words[at + 1]) << (np.uint64(64) - shift)
                value &= mask
            half = np.int64(value >> one)
            out[first + j] = half if value & one == 0 else -half - 1
        start += width


@compiled
def pack(zigzag: np.ndarray, widths: np.ndarray, words: np.ndarray) -> None:
    """Write the blocks (n, 64) to `words`, which are 0 before."""
    start = np.int64(0)
    for block in range(len(widths)):
        width = np.int64(widths[block])
        if width > 0:
            for j in range(64):
                bit = j * width
                at, value = start + (bit >> 6), zigzag[block, j]
                words[at] |= value << np.uint64(bit & 63)
                if (bit & 63) + width > 64:
                    words[at + 1] |= value >> np.uint64(64 - (bit & 63))
        start += width
