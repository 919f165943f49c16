"""The exact sum's pass on a device by torch's operations, and the choice of a device's pass.

The same numbers as on a processor, bit for bit: all operations are IEEE float64, one rounding each.
Nothing waits for the device but the last line, which reads the greatest magnitudes.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 24  # entries: few launches of kernels, and 256 MiB for what lies in between
ROUGH = [0.0, -0.0, 1.0, -1.5, 2.0**-38, 3 * 2.0**-38, 1e-45, -7.3, 1 / 3, 2.0**-62, 4.1e-5, 9e-9]

Change = Callable[..., list[float]]  # as `change`
log = logging.getLogger(__name__)


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
    counts as greater than Inf.
    """
    most = [out.new_zeros((), dtype=torch.float64) for _ in terms]
    # CUDA multiplies by the rounded inverse of a number that is not in its own memory.
    by = torch.tensor(divisor, dtype=torch.float64, device=out.device)
    for low in range(0, len(out), CHUNK):
        result = out[low : low + CHUNK]
        if limbs:
            sums = [limb[low : low + CHUNK] for limb in limbs]
        else:
            sums = [torch.empty_like(result, dtype=torch.float64) for _ in magics]
        if fresh or not limbs:
            for limb in sums:
                limb.zero_()
        for i, (vector, weight, sign) in enumerate(terms):
            piece = vector[low : low + CHUNK]
            most[i] = torch.maximum(most[i], piece.abs().amax().double())
            _add(piece.double() * (weight * sign), sums, magics)
        total = sums[0] if len(sums) == 1 else sums[0] + sums[1]
        result.copy_(total / by)
    return [float(one) for one in torch.stack(most).cpu()] if most else []


def _add(value: Tensor, sums: Sequence[Tensor], magics: Sequence[float]) -> None:
    """Add numbers to the limbs, each limb the multiple of its grid in what the last one left."""
    for limb, magic in zip(sums, magics, strict=True):
        rounded = (value + magic).sub_(magic)
        limb.add_(rounded)
        value.sub_(rounded)  # exact, at most half a unit


@cache
def pass_on(device: torch.device, dtype: torch.dtype, magics: tuple[float, ...]) -> Change | None:
    """Return the fastest exact pass on a device, or None where the device cannot sum exactly.

    The fused kernel is taken where it gives the bits of torch's operations, and these where they
    give the bits of torch's operations on the processor.
    """
    host = torch.device("cpu")
    try:
        expected = _trial(change, host, dtype, magics)
        if _trial(change, device, dtype, magics) != expected:
            log.warning("composing on the processor: %s rounds float64 in its own way", device)
            return None
    except (RuntimeError, TypeError, NotImplementedError) as error:  # a device without float64
        log.warning("composing on the processor, as %s cannot: %s", device, error)
        return None
    try:
        from tangent.composition import triton_sum

        if _trial(triton_sum.change, device, dtype, magics) == expected:
            return triton_sum.change
        log.warning("composing without the fused kernel, whose bits on %s are others", device)
    except ModuleNotFoundError:
        pass
    except Exception as error:
        log.warning("composing without the fused kernel, several times slower: %s", error)
    return change


def _trial(
    way: Change, device: torch.device, dtype: torch.dtype, magics: tuple[float, ...]
) -> list[Any]:
    """Return all that a pass computes of numbers that other ways of rounding tell apart."""
    rough = torch.tensor(ROUGH, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4 * len(ROUGH), 97, generator=generator, dtype=torch.float64)
    vectors = [(noise[k::4].T * rough + rough).reshape(-1).to(device, dtype) for k in range(4)]
    terms = list(zip(vectors, (1.0, 1 / 3, -0.7, 1.0), (1, 1, 1, -1), strict=True))
    limbs = [torch.empty(len(vectors[0]), dtype=torch.float64, device=device) for _ in magics]
    found: list[Any] = []
    for some, fresh in ((terms, True), (terms[:2], False)):
        out = torch.empty_like(vectors[0])
        found.append(way(some, limbs, magics, 3.0, out, fresh=fresh))
        alone = torch.empty_like(out)
        found.append(way(some, [], magics, 7.0, alone, fresh=True))
        found += [one.view(torch.uint8).cpu().numpy().tobytes() for one in (out, alone, *limbs)]
    return found
