"""The exact sum's pass as one kernel of a graphics processor, written in Triton.

It does what `compiled_sum` does on processors, with the same bits: every entry of every part is
read once, rounded to the grid, added in float64, divided and written. All operations are IEEE
float64, which every device rounds alike, as long as no compiler joins a product and a sum into one
operation that rounds once: the launch forbids that (`enable_fp_fusion=False`).

Needs triton, which CUDA builds of torch bring along. `device_sum.pass_on` takes this kernel only
where its bits are those of torch's own operations.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # entries: eight for each thread of four warps
ALIGNED = 16  # bytes that a thread reads at once


# fmt: off
@triton.jit
def _narrow(
    places, numbers, limb, greatest, out, first, size, parts,
    FRESH: tl.constexpr, KEPT: tl.constexpr, PARTIAL: tl.constexpr,
    BOUND: tl.constexpr, LENGTH: tl.constexpr,
):
    """Sum entries of at most 32 bits, in whole blocks from `first` on, or the last part of one.

    `places`: the parts' distances from `out` in entries, multiples of BOUND, so that the compiler
    lets a thread read several entries at once. `numbers`: M twice, the divisor, then the weights.
    """
    block = first + tl.program_id(0).to(tl.int64)
    at = block * LENGTH + tl.arange(0, LENGTH)
    # Without a mask, a thread reads several entries at once.
    inside = at < size if PARTIAL else None
    nothing = 0.0 if PARTIAL else None
    magic, divisor = tl.load(numbers), tl.load(numbers + 2)
    sums = tl.zeros([LENGTH], tl.float64)
    if not FRESH:
        sums = tl.load(limb + at, mask=inside, other=nothing)
    for part in range(parts):
        vector = out + tl.load(places + part) // BOUND * BOUND
        single = tl.load(vector + at, mask=inside, other=nothing).to(tl.float32)
        magnitudes = single.to(tl.int32, bitcast=True) & 0x7FFFFFFF
        tl.store(greatest + block * parts + part, tl.max(magnitudes, 0))
        weight = tl.load(numbers + 3 + part)
        sums += (single.to(tl.float64) * weight + magic) - magic
    if KEPT:
        tl.store(limb + at, sums, mask=inside)
    _write(out + at, inside, (sums / divisor).to(tl.float32), out.dtype.element_ty)


# fmt: on
@triton.jit
def _write(place, inside, result, kind: tl.constexpr):
    """Write float32 numbers as the type of `out`."""
    if kind == tl.bfloat16:  # rounded as the processor does, ties to even
        bits = result.to(tl.uint32, bitcast=True)
        halves = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.uint16)
        tl.store(place, halves.to(tl.bfloat16, bitcast=True), mask=inside)
    else:
        tl.store(place, result.to(kind), mask=inside)


# fmt: off
@triton.jit
def _wide(
    places, numbers, limb, rest_limb, greatest, out, first, size, parts,
    FRESH: tl.constexpr, KEPT: tl.constexpr, PARTIAL: tl.constexpr,
    BOUND: tl.constexpr, LENGTH: tl.constexpr,
):
    """Sum entries of 64 bits in two limbs, otherwise as `_narrow`; `numbers` begins with both M."""
    block = first + tl.program_id(0).to(tl.int64)
    at = block * LENGTH + tl.arange(0, LENGTH)
    inside = at < size if PARTIAL else None
    nothing = 0.0 if PARTIAL else None
    coarse, fine, divisor = tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2)
    sums = tl.zeros([LENGTH], tl.float64)
    rest = tl.zeros([LENGTH], tl.float64)
    if not FRESH:
        sums = tl.load(limb + at, mask=inside, other=nothing)
        rest = tl.load(rest_limb + at, mask=inside, other=nothing)
    for part in range(parts):
        vector = out + tl.load(places + part) // BOUND * BOUND
        values = tl.load(vector + at, mask=inside, other=nothing)
        magnitudes = values.to(tl.int64, bitcast=True) & 0x7FFFFFFFFFFFFFFF
        tl.store(greatest + block * parts + part, tl.max(magnitudes, 0))
        value = values * tl.load(numbers + 3 + part)
        rounded = (value + coarse) - coarse
        sums += rounded
        rest += ((value - rounded) + fine) - fine
    if KEPT:
        tl.store(limb + at, sums, mask=inside)
        tl.store(rest_limb + at, rest, mask=inside)
    tl.store(out + at, (sums + rest) / divisor, mask=inside)


# fmt: on
def change(
    terms: Sequence[tuple[Tensor, float, int]],
    limbs: Sequence[Tensor],
    magics: Sequence[float],
    divisor: float,
    out: Tensor,
    *,
    fresh: bool,
) -> list[float]:
    """Bring the limbs up to date and fill `out`; return every vector's greatest magnitude.

    All tensors are on one device. Without limbs, or `fresh`, the sum begins with the terms. A NaN
    counts as greater than Inf. The return waits for the device, once.
    """
    parts, wide = len(terms), out.dtype == torch.float64
    if not len(out):
        return [0.0] * parts
    vectors = [vector.contiguous() for vector, _, _ in terms]
    distances = [(v.data_ptr() - out.data_ptr()) // out.itemsize for v in vectors]  # in entries
    signed = [weight * sign for _, weight, sign in terms]  # rounding knows no sign
    numbers = torch.tensor([magics[0], magics[-1], divisor, *signed], dtype=torch.float64)
    places = torch.tensor(distances or [0], dtype=torch.int64)
    bits = torch.int64 if wide else torch.int32
    blocks = triton.cdiv(len(out), BLOCK), max(parts, 1)
    greatest = torch.zeros(blocks, dtype=bits, device=out.device)
    run = ALIGNED // out.itemsize
    options = {
        "FRESH": fresh or not limbs,
        "KEPT": bool(limbs),
        "BOUND": 1 if any(place % run for place in distances) else run,
    }
    sums = list(limbs) or [out, out][: len(magics)]  # without limbs, neither read nor written
    given = places.to(out.device), numbers.to(out.device), *sums, greatest, out
    _launch(given, len(out), parts, options)
    most = greatest.amax(0)[:parts].cpu().view(torch.float64 if wide else torch.float32)
    return [float(one) for one in most]


def _launch(given: Sequence[Tensor], size: int, parts: int, options: dict[str, Any]) -> None:
    """Run the kernel over all whole blocks, and over what is left."""
    out = given[-1]
    kernel: Any = _wide if out.dtype == torch.float64 else _narrow
    options = options | {"LENGTH": BLOCK, "enable_fp_fusion": False}
    with torch.accelerator.device_index(out.device.index):
        if whole := size // BLOCK:
            kernel[(whole,)](*given, 0, size, parts, PARTIAL=False, **options)
        if size % BLOCK:
            kernel[(1,)](*given, whole, size, parts, PARTIAL=True, **options)
