"""The exact sum's pass as compiled loops: each byte is read once and nothing is copied on the way.

Same numbers as the passes over torch's tensors in `exact_sum`, bit for bit, several times faster:
torch has no operation that adds float32 to float64 without a copy in between. A block of all parts
is added up in a near cache, then divided and written. Maxima come from the bits, whose order
as integers is that of absolute values, NaN last; so one pass also tells what must be refused.

Needs numba. It is imported when it first pays, never with the package; the compiled loops are kept
next to this file or in the user's cache, or in memory alone where neither can be written.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numba import carray, njit, types
from numba.extending import intrinsic
from torch import Tensor

BLOCK = 8192  # entries: limbs in the second cache, parts read in runs worth prefetching
SLICES = 4  # for each thread, so that one that is held up leaves work to the others
SINGLE, DOUBLE = 0x7FFFFFFF, 0x7FFFFFFFFFFFFFFF  # all bits but the sign's

Function = TypeVar("Function", bound=Callable[..., Any])
Term = tuple[Tensor, float, int]  # a vector, its lambda, and whether it is added or removed


def compiled(function: Function) -> Function:
    """Return the function as machine code that runs without the interpreter's lock."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Function, njit(cache=True, **options)(function))
    except RuntimeError:  # no folder can hold the machine code
        return cast(Function, njit(**options)(function))


def _of_address(_context: Any, address: Any) -> Any:
    """Return an address as a pointer: every part lies in a memory map of its own."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.uint64), code


_pointer: Any = intrinsic(_of_address)


@compiled
def _stretch(address: np.uint64, low: int, count: int) -> np.ndarray:
    """Return float64 numbers in memory, from the `low`th on."""
    numbers: np.ndarray = carray(
        _pointer(address + np.uint64(8) * np.uint64(low)), count, np.float64
    )
    return numbers


@compiled
def _widened(address: np.uint64, count: int, room: np.ndarray) -> np.int64:
    """Widen bfloat16 to float32 in `room`; return the greatest magnitude's bits as float32."""
    halves = carray(_pointer(address), count, np.uint16)
    bits = room.view(np.uint32)
    most = np.uint32(0)
    for i in range(count):
        bits[i] = np.uint32(halves[i]) << np.uint32(16)
        most = max(most, np.uint32(bits[i] & np.uint32(SINGLE)))
    return np.int64(most)


@compiled
def _greatest(address: np.uint64, count: int) -> np.int64:
    """Return the bits of the greatest magnitude among float32 numbers."""
    bits = carray(_pointer(address), count, np.int32)
    most = np.int32(0)
    for i in range(count):
        most = max(most, np.int32(bits[i] & np.int32(SINGLE)))
    return np.int64(most)


@compiled
def _narrow(
    addresses: np.ndarray,
    weights: np.ndarray,
    limbs: np.ndarray,
    fresh: bool,
    magics: np.ndarray,
    divisor: float,
    out: np.ndarray,
    start: int,
    stop: int,
) -> np.ndarray:
    """Sum entries start to stop of float32 or bfloat16 vectors; write the bits to `out`."""
    most = np.zeros(len(addresses), np.int64)
    room, result = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    own, kept = np.empty(BLOCK), len(limbs) > 0
    magic, width, half = magics[0], np.uint64(out.itemsize), out.itemsize == 2
    for low in range(start, stop, BLOCK):
        count = min(BLOCK, stop - low)
        sums = _stretch(limbs[0], low, count) if kept else own[:count]
        if fresh:
            sums[:] = 0.0
        for part in range(len(addresses)):
            address = addresses[part] + width * np.uint64(low)
            if half:
                greatest, values = _widened(address, count, room), room[:count]
            else:
                greatest = _greatest(address, count)
                values = carray(_pointer(address), count, np.float32)
            most[part] = max(most[part], greatest)
            weight = weights[part]
            if weight == 1:  # as in every average: one operation less
                for i in range(count):
                    sums[i] += (np.float64(values[i]) + magic) - magic
            else:
                for i in range(count):
                    sums[i] += (np.float64(values[i]) * weight + magic) - magic
        for i in range(count):
            result[i] = sums[i] / divisor
        _written(result, out, low, count)
    return most


@compiled
def _written(result: np.ndarray, out: np.ndarray, low: int, count: int) -> None:
    """Write a block's float32 bits to `out`; round them, ties to even, where `out` has 16 bits."""
    bits = result.view(np.uint32)
    for i in range(count):
        if out.itemsize == 2:
            even = (bits[i] >> np.uint32(16)) & np.uint32(1)
            out[low + i] = np.uint32(bits[i] + np.uint32(0x7FFF) + even) >> np.uint32(16)
        else:
            out[low + i] = bits[i]


@compiled
def _wide(
    addresses: np.ndarray,
    weights: np.ndarray,
    limbs: np.ndarray,
    fresh: bool,
    magics: np.ndarray,
    divisor: float,
    out: np.ndarray,
    start: int,
    stop: int,
) -> np.ndarray:
    """Sum entries start to stop of float64 vectors, in two limbs."""
    most = np.zeros(len(addresses), np.int64)
    own, kept = np.empty((2, BLOCK)), len(limbs) > 0
    coarse, fine = magics[0], magics[1]
    for low in range(start, stop, BLOCK):
        count = min(BLOCK, stop - low)
        high = _stretch(limbs[0], low, count) if kept else own[0, :count]
        rest = _stretch(limbs[1], low, count) if kept else own[1, :count]
        if fresh:
            high[:] = 0.0
            rest[:] = 0.0
        for part in range(len(addresses)):
            values = _stretch(addresses[part], low, count)
            bits = values.view(np.int64)
            weight, greatest = weights[part], most[part]
            for i in range(count):
                greatest = max(greatest, bits[i] & DOUBLE)
                value = values[i] * weight
                rounded = (value + coarse) - coarse
                high[i] += rounded
                rest[i] += ((value - rounded) + fine) - fine
            most[part] = greatest
        for i in range(count):
            out[low + i] = (high[i] + rest[i]) / divisor
    return most


def change(
    terms: Sequence[Term],
    limbs: Sequence[Tensor],
    magics: Sequence[float],
    divisor: float,
    out: Tensor,
    *,
    fresh: bool,
) -> list[float]:
    """Bring the limbs up to date and fill `out`; return every vector's greatest magnitude.

    Without limbs, or `fresh`, the sum begins with the terms. A NaN counts as greater than Inf.
    """
    wide = out.dtype == torch.float64
    addresses = np.array([vector.data_ptr() for vector, _, _ in terms], np.uint64)
    signed = np.array([weight * sign for _, weight, sign in terms])  # rounding knows no sign
    held = np.array([limb.data_ptr() for limb in limbs], np.uint64)
    bits = out if wide else out.view({2: torch.uint16, 4: torch.uint32}[out.itemsize])
    given = (addresses, signed, held, fresh or not limbs, np.array(magics), divisor)
    loop = _wide if wide else _narrow

    def slice_of(span: tuple[int, int]) -> np.ndarray:
        return loop(*given, bits.numpy(), *span)

    most: np.ndarray = np.max(_spread(slice_of, len(out)), axis=0, initial=0)
    magnitudes: list[float] = (
        most.view(np.float64) if wide else most.astype(np.uint32).view(np.float32)
    ).tolist()
    return magnitudes


def _spread(work: Callable[[tuple[int, int]], np.ndarray], size: int) -> list[np.ndarray]:
    """Run the work on every slice of the entries, on as many threads as torch may use."""
    threads = torch.get_num_threads()
    blocks = -(-size // BLOCK)
    step = -(-blocks // (threads * SLICES)) * BLOCK
    spans = [(low, min(low + step, size)) for low in range(0, size, step)] if size else []
    if threads == 1:
        return [work((0, size))]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, spans))
