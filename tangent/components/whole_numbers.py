"""Whole numbers in as few bits as they need, block by block; the same numbers give the same bytes.

A number v is stored as 2v, or as -2v - 1 where it is below 0. A block is BLOCK such numbers, the
last one filled up with zeros. Its width is the number of bits of the largest, so a block of width w
is w words of 64 bits: number j takes the w bits from bit j·w on, the lowest first. The widths, a
byte each, are filled up with zeros to whole words: every tensor of a file then is of whole words.

Where numba is installed, `compiled_packing` does long vectors, with the same bits.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tangent.components.mapped_tensors import empty
from tangent.errors import BadComponent

BLOCK = 64
WORD = 8  # bytes
MAX_WIDTH = 54  # of numbers below 2^53, all of which float64 has
COMPILED_FROM = 1 << 16  # numbers: numpy takes some milliseconds for fewer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WholeNumbers:
    """A vector of whole numbers, of any size below 2^53."""

    count: int
    widths: Tensor  # (blocks, filled up to whole words,) uint8
    words: Tensor  # (sum of widths,) int64, whose bits count alone

    def numbers(self) -> Tensor:
        """Return them as float64.

        Raises:
            BadComponent: the file that the tensors map has been written to.
        """
        # The compiled loop trusts the widths: these are a copy that nobody writes to any more.
        widths = checked(self.count, self.widths.clone(), self.words).widths[: _blocks(self.count)]
        out = empty(self.count, torch.float64)
        kernel = _kernel() if self.count >= COMPILED_FROM else None
        unpack = _unpack if kernel is None else kernel.unpack
        unpack(widths.numpy(), self.words.numpy(), out.numpy())
        return out

    def is_canonical(self) -> bool:
        """Return whether these are the bytes that `whole_numbers` gives of the numbers.

        Others have wider blocks than they need, or other numbers than zeros to fill the last one.
        """
        made = whole_numbers(self.numbers())
        return (
            made is not None
            and torch.equal(made.widths, self.widths)
            and torch.equal(made.words, self.words)
        )


def whole_numbers(values: Tensor) -> WholeNumbers | None:
    """Return the float64 numbers (n,) packed; None if one of them is not whole or too large."""
    numbers = values.numpy()
    if len(numbers) and not (
        float(np.abs(numbers).max()) < 2.0 ** (MAX_WIDTH - 1)  # false for NaN
        and bool((np.rint(numbers) == numbers).all())
    ):
        return None
    blocks = _blocks(len(numbers))
    filled = np.zeros(blocks * BLOCK, np.int64)
    filled[: len(numbers)] = numbers
    zigzag = ((filled << 1) ^ (filled >> 63)).view(np.uint64).reshape(blocks, BLOCK)
    widths = _bits(zigzag.max(axis=1, initial=0)) if blocks else np.zeros(0, np.uint8)
    words = np.zeros(int(widths.sum(dtype=np.int64)), np.uint64)
    kernel = _kernel() if len(numbers) >= COMPILED_FROM else None
    pack = _pack if kernel is None else kernel.pack
    pack(zigzag, widths, words)
    whole = np.zeros(_filled_up(blocks), np.uint8)
    whole[:blocks] = widths
    return WholeNumbers(
        len(numbers), torch.from_numpy(whole), torch.from_numpy(words.view(np.int64))
    )


def checked(count: int, widths: Tensor, words: Tensor) -> WholeNumbers:
    """Return the packed vector of tensors that a file has.

    Raises:
        BadComponent: they are no vector of so many numbers.
    """
    blocks = _blocks(count)
    if widths.dtype != torch.uint8 or widths.shape != (_filled_up(blocks),):
        raise BadComponent(
            f"the widths of {count} whole numbers must be {_filled_up(blocks)} bytes: a cast "
            "changes them"
        )
    if bool(widths[blocks:].any()):
        raise BadComponent(f"the widths of whole numbers after block {blocks} must be 0")
    if words.dtype != torch.int64 or words.ndim != 1:
        raise BadComponent(
            "the words of whole numbers must be 64 bit integers in one row: a cast changes them"
        )
    if blocks and int(widths.max()) > MAX_WIDTH:
        raise BadComponent(f"whole numbers have at most {MAX_WIDTH} bits, these have more")
    expected = int(widths.sum(dtype=torch.int64))
    if len(words) != expected:
        raise BadComponent(f"whole numbers of these widths take {expected} words, not {len(words)}")
    return WholeNumbers(count, widths, words)


def _blocks(count: int) -> int:
    return -(-count // BLOCK)


def _filled_up(blocks: int) -> int:
    return -(-blocks // WORD) * WORD


def _bits(most: np.ndarray) -> np.ndarray:
    """Return how many bits each number below 2^54 needs."""
    bits = np.frexp(most.astype(np.float64))[1]
    # Rounding to float64 may have lifted a number to the next power of two.
    fits = (bits > 0) & (most >> np.maximum(bits - 1, 0).astype(np.uint64) == 0)
    found: np.ndarray = (bits - fits).astype(np.uint8)
    return found


def _by_width(widths: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each width above 0 with the numbers of the blocks that have it."""
    for width in np.unique(widths):
        if width:
            yield int(width), np.flatnonzero(widths == width)


def _pack(zigzag: np.ndarray, widths: np.ndarray, words: np.ndarray) -> None:
    """Write the blocks (n, BLOCK) to `words`, blocks of one width at a time."""
    ends = np.cumsum(widths, dtype=np.int64)
    for width, those in _by_width(widths):
        own = np.zeros((len(those), width), np.uint64)
        for j in range(BLOCK):
            at, shift = divmod(j * width, 64)
            own[:, at] |= zigzag[those, j] << np.uint64(shift)
            if shift + width > 64:
                own[:, at + 1] |= zigzag[those, j] >> np.uint64(64 - shift)
        words[(ends[those] - width)[:, None] + np.arange(width)] = own


def _unpack(widths: np.ndarray, words: np.ndarray, out: np.ndarray) -> None:
    """Write the numbers to `out`, blocks of one width at a time."""
    ends, bits = np.cumsum(widths, dtype=np.int64), words.view(np.uint64)
    filled = np.zeros((len(widths), BLOCK), np.float64)
    for width, those in _by_width(widths):
        own = bits[(ends[those] - width)[:, None] + np.arange(width)]
        mask, numbers = np.uint64(2**width - 1), np.empty((len(those), BLOCK), np.uint64)
        for j in range(BLOCK):
            at, shift = divmod(j * width, 64)
            value = own[:, at] >> np.uint64(shift)
            if shift + width > 64:
                value |= own[:, at + 1] << np.uint64(64 - shift)
            numbers[:, j] = value & mask
        filled[those] = (numbers >> np.uint64(1)).view(np.int64) ^ -(numbers & np.uint64(1)).view(
            np.int64
        )
    out[:] = filled.reshape(-1)[: len(out)]


@cache
def _kernel() -> Any:
    """Return the compiled loops, or None where numba is missing or fails: only speed is lost."""
    try:
        from tangent.components import compiled_packing

        widths, words = np.ones(1, np.uint8), np.zeros(1, np.uint64)
        compiled_packing.pack(np.zeros((1, BLOCK), np.uint64), widths, words)
        compiled_packing.unpack(widths, words.view(np.int64), np.empty(1))
    except ModuleNotFoundError:
        return None
    except Exception as error:
        log.warning("packing statistics without compiled loops, which is slower: %s", error)
        return None
    return compiled_packing
