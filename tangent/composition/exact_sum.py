"""Exact sums of vectors: integers on a fixed grid, whose sums depend on no order and no history.

Every part lambda·x is rounded once, by itself, to the nearest multiple of the grid g (ties to
even); from there on nothing is rounded. Adding in any order gives the same bits, and taking a part
away leaves the bits that never adding it gives.

| entries     | limbs | grid          | error of a part | reach: most of sum abs(lambda·x) |
|-------------|-------|---------------|-----------------|----------------------------------|
| to 32 bits  | 1     | 2^-37         | 2^-38 = 3.6e-12 | 2^13 = 8192                      |
| 64 bits     | 2     | 2^-24, 2^-62  | 2^-63 = 1.1e-19 | 2^26 = 6.7e7                     |

(The error of a part has half a unit in the last place of the float64 lambda·x on top.) At the end
the sum is divided and rounded to the type of the entries.

A limb holds its integers as float64 multiples of g, exact below 2^53 g. Adding M = 1.5·2^52 g to a
number below 2^51 g rounds it to the grid, as the result's last bit is worth g; `limb + (x + M)`
takes M along, and the next part takes it away again: `limb + (x - M)`. So a part costs three passes
over a chunk that stays in the cache: convert, add, add. (Integers in int64 cost more: torch's
addition of them multiplies by alpha, and takes three times as long.)

Where numba is installed, `compiled_sum` does long sums in one pass, with the same bits; where the
vectors lie on another device than the processor, so does a pass of `device_sum`'s choice.
"""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tangent.components.mapped_tensors import empty
from tangent.composition.device_sum import Change, pass_on
from tangent.errors import Overflow

HOST = torch.device("cpu")
CHUNK = 1 << 17  # entries; with two threads each half of limb, scratch and part fits an L2 of 2 MiB
GRIDS = (2.0**-37,)
GRIDS_OF_64_BITS = (2.0**-24, 2.0**-62)
CAPACITY = 2.0**50  # in units of the grid: half of what the rounding allows
MAX_PARTS = 2**13  # that many residues of half a unit of the first limb fill the second limb

COMPILED = (torch.float32, torch.bfloat16, torch.float64)
COMPILED_FROM = 1 << 22  # entries of all parts: torch takes some ten milliseconds for fewer
SMALL_WEIGHT = 2.0**30  # up to here the norm that underflows belongs to parts far below 1

log = logging.getLogger(__name__)
Terms = Sequence[tuple[Tensor, float]]  # vectors with their lambdas
Term = tuple[Tensor, float, int]  # and whether it is added or removed


ROOM = 8  # components as large as the largest that is accepted


def reach(dtype: torch.dtype) -> float:
    """Return the bound that the sum of abs(lambda·x) must stay below, entry by entry."""
    return CAPACITY * _grids(dtype)[0]


def is_too_large(value: Tensor) -> bool:
    """Return whether fewer than ROOM tensors as large as this one can be summed exactly."""
    if not value.numel():
        return False
    return not float(value.abs().max()) * ROOM < reach(value.dtype)


def _grids(dtype: torch.dtype) -> tuple[float, ...]:
    return GRIDS_OF_64_BITS if dtype == torch.float64 else GRIDS


def grid_parts(value: Tensor) -> list[Tensor]:
    """Return float64 numbers as multiples of the two grids, to half of the finer grid at most."""
    parts = []
    for grid in GRIDS_OF_64_BITS:
        part = (value + _magic(grid)) - _magic(grid)
        parts.append(part)
        value = value - part  # exact, at most half a unit
    return parts


def check_bound(bound: float, parts: int, dtype: torch.dtype) -> None:
    """Refuse a sum that may not be exact.

    Raises:
        Overflow: the bound on the sum of abs(lambda·x) is NaN or beyond the reach.
    """
    if not bound < float("inf"):
        raise Overflow(
            "a component times its weight holds NaN or Inf: use weights of an ordinary size"
        )
    if bound >= reach(dtype) or parts > MAX_PARTS:
        raise Overflow(
            f"{parts} components times their weights may reach {bound:.3g}; sums are exact below "
            f"{reach(dtype):g} and to {MAX_PARTS} components: use smaller or fewer weights"
        )


def _greatest(chunk: Tensor, weight: float) -> float:
    """Return max abs(chunk), or 0 where abs(weight·chunk) is below 1/2; NaN or Inf if it has any.

    The norm is no less than the maximum and several times faster.
    """
    if not chunk.numel():  # a scope without directions of the backbone
        return 0.0
    fast = chunk.dtype.itemsize >= 4 and abs(weight) <= SMALL_WEIGHT
    if fast and abs(weight) * float(torch.dot(chunk, chunk)) ** 0.5 < 0.5:
        return 0.0
    low, high = torch.aminmax(chunk)
    return float(torch.maximum(-low, high))


def _bound(greatest: float, weight: float) -> float:
    """Return max abs(weight·x), or 0 below 1: MAX_PARTS such parts fill half of the room."""
    bound = abs(weight) * greatest
    return 0.0 if bound < 1 else bound


@cache
def _kernel(dtype: torch.dtype) -> Any:
    """Return the compiled pass, or None where numba is missing or fails: only speed is lost."""
    try:
        from tangent.composition import compiled_sum

        vector, magics = torch.ones(1, dtype=dtype), _magics(dtype)
        compiled_sum.change([(vector, 1.0, 1)], [], magics, 1.0, vector, fresh=True)
    except ModuleNotFoundError:
        return None
    except Exception as error:
        log.warning("composing without compiled loops, several times slower: %s", error)
        return None
    return compiled_sum


def _magic(grid: float) -> float:
    """Return M: adding it to a number below 2^51 g rounds the number to a multiple of g."""
    return 1.5 * 2.0**52 * grid


def _magics(dtype: torch.dtype) -> tuple[float, ...]:
    return tuple(_magic(grid) for grid in _grids(dtype))


def summing_device(device: torch.device, dtype: torch.dtype) -> torch.device:
    """Return the device itself if it sums exactly, else the processor."""
    if device.type == HOST.type or pass_on(device, dtype, _magics(dtype)) is None:
        return HOST
    return device


class Accumulator:
    """The exact sum of weighted vectors of one length and type, all on one device.

    With `kept`, it holds the sum (8 bytes an entry and limb) for later changes; without, it is good
    for one `change`.
    """

    def __init__(
        self, size: int, dtype: torch.dtype, *, kept: bool = True, device: torch.device = HOST
    ) -> None:
        """`device`: one that `summing_device` returned; any has the same bits."""
        self.size, self.dtype, self.kept, self.device = size, dtype, kept, device
        self.parts = 0
        self.bounds = 0.0  # sum of the parts' bounds
        self._magics = _magics(dtype)
        self._fresh = True
        self._device_pass = None if device == HOST else pass_on(device, dtype, self._magics)
        if self._device_pass is not None:
            self._limbs = [self._room(size, torch.float64) for _ in _grids(dtype) if kept]
            return
        length = size if kept else min(size, CHUNK)
        self._limbs = [empty(length, torch.float64) for _ in _grids(dtype)]
        self._scratch = [empty(min(size, CHUNK), torch.float64) for _ in range(2)]

    def _room(self, size: int, dtype: torch.dtype) -> Tensor:
        if self.device == HOST:
            return empty(size, dtype)
        return torch.empty(size, dtype=dtype, device=self.device)

    def change(self, added: Terms, removed: Terms = (), *, divisor: float = 1.0) -> Tensor:
        """Return the new sum over the divisor, in one pass over the bytes of all terms.

        `removed` must have been added before, with the same weights. After an error the sum is
        undefined.

        Raises:
            Overflow: a part holds NaN or Inf, or the parts may leave the grid's reach.
        """
        if not (self.kept or self._fresh):
            raise AssertionError("this accumulator kept nothing to change")
        terms = [(*term, 1) for term in added] + [(*term, -1) for term in removed]
        self.parts += len(added) - len(removed)
        out = self._room(self.size, self.dtype)
        with torch.inference_mode():
            most = self._update_limbs(terms, divisor, out)
        self._fresh = False
        for (_, weight, sign), greatest in zip(terms, most, strict=True):
            self.bounds += sign * _bound(greatest, weight)
        check_bound(self.bounds, self.parts, self.dtype)
        return out

    def _update_limbs(self, terms: Sequence[Term], divisor: float, out: Tensor) -> list[float]:
        """Bring the limbs up to date and fill `out`; return max abs(x) of every term."""
        change = self._device_pass or self._compiled_pass(len(terms))
        if change is None:
            return self._pass(terms, divisor, out)
        limbs = self._limbs if self.kept else []
        return change(terms, limbs, self._magics, divisor, out, fresh=self._fresh)

    def _compiled_pass(self, count: int) -> Change | None:
        """Return the compiled pass over so many terms, or None where it does not pay."""
        long = self.size * count >= COMPILED_FROM and self.dtype in COMPILED
        kernel = _kernel(self.dtype) if long else None
        return None if kernel is None else kernel.change

    def _pass(self, terms: Sequence[Term], divisor: float, out: Tensor) -> list[float]:
        """Do the same by torch's operations, chunk by chunk."""
        pieces = [vector.split(CHUNK) for vector, _, _ in terms]
        signs = [(weight, sign, -1 if i % 2 else 1) for i, (_, weight, sign) in enumerate(terms)]
        limbs_of = list(zip(*(limb.split(CHUNK) for limb in self._limbs), strict=True))
        most = [0.0] * len(terms)
        for k, result in enumerate(out.split(CHUNK)):
            limbs = limbs_of[k] if self.kept else [limb[: len(result)] for limb in self._limbs]
            scratch = [buffer[: len(result)] for buffer in self._scratch]
            self._prepare(limbs, odd=len(terms) % 2)
            for i, (weight, sign, flip) in enumerate(signs):
                piece = pieces[i][k]
                greatest = _greatest(piece, weight)
                if not greatest <= most[i]:  # so that NaN stays
                    most[i] = greatest
                scratch[0].copy_(piece)
                if weight != 1:
                    scratch[0].mul_(weight)
                self._step(limbs, scratch, sign, flip)
            self._result(limbs, scratch[0], divisor, result)
        return most

    def _prepare(self, limbs: Sequence[Tensor], *, odd: int) -> None:
        """Subtract M before an odd number of steps, so that no M is left after the last step."""
        for limb, magic in zip(limbs, self._magics, strict=True):
            if self._fresh:
                limb.fill_(-odd * magic)
            elif odd:
                limb.sub_(magic)

    def _step(self, limbs: Sequence[Tensor], scratch: list[Tensor], sign: int, flip: int) -> None:
        """Add or subtract the part in scratch[0], and `flip` times M."""
        value, rounded = scratch
        for limb, magic in zip(limbs[:-1], self._magics, strict=False):
            bias = sign * flip * magic
            torch.add(value, bias, out=rounded)
            limb.add_(rounded, alpha=sign)
            value.sub_(rounded.sub_(bias))  # exact, at most half a unit: the next limb's part
        limbs[-1].add_(value.add_(sign * flip * self._magics[-1]), alpha=sign)

    def _result(
        self, limbs: Sequence[Tensor], scratch: Tensor, divisor: float, out: Tensor
    ) -> None:
        total = limbs[0] if len(limbs) == 1 else torch.add(limbs[0], limbs[1], out=scratch)
        out.copy_(total if divisor == 1 else torch.div(total, divisor, out=scratch))
