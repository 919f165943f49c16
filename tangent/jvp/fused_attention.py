"""The choice of attention's kernel: a fused one where a device has it, and it proves itself there.

The rule of `rules.attention` holds everywhere; a fused kernel computes the same in one pass and
stores no scores. It is compared with the rule's formulas in float64 when a device is first asked.
"""

import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor

FUSED = {"cuda": "tangent.jvp.triton_attention"}  # type of a device -> the module of its kernel
WITHIN = {  # relative error of o and ȯ; a type that is missing has products as fast without fusing
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
    torch.float32: 5e-3,  # where its products may be rounded to TF32
}
TOKENS, WIDTH = 70, 64  # of the comparison: whole blocks, and parts of blocks

Along = tuple[Tensor | None, ...]  # q̇, k̇, v̇
Kernel = Callable[[Tensor, Tensor, Tensor, Sequence[Along], float], tuple[Tensor, list[Tensor]]]

log = logging.getLogger(__name__)
_allowed: ContextVar[bool] = ContextVar("fused operations are allowed", default=True)


@contextmanager
def fused_operations(*, allowed: bool) -> Iterator[None]:
    """Let rules use fused kernels within, or keep them from it; without, they may."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def fused_kernel(query: Tensor, key: Tensor, value: Tensor) -> Kernel | None:
    """Return the kernel for attention of these values, or None where the rule is to compute it."""
    device, dtype = query.device, query.dtype
    if device.type not in FUSED or dtype not in WITHIN or not _allowed.get():
        return None
    if dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32:
        return None
    module = _proven(device, dtype)
    return module.attention if module is not None and module.fits(query, key, value) else None


@cache
def _proven(device: torch.device, dtype: torch.dtype) -> Any:
    """Return the module of the device's kernel, or None where it is missing, fails or is wrong."""
    try:
        module = importlib.import_module(FUSED[device.type])
        error = _error(module.attention, device, dtype)
    except ModuleNotFoundError:
        return None
    except Exception as failure:
        log.warning("attention without the fused kernel, which fails: %s", failure)
        return None
    if error <= WITHIN[dtype]:
        return module
    log.warning("attention without the fused kernel, whose error here is %.1e", error)
    return None


def _error(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> float:
    """Return the kernel's greatest relative error on noise, laid out as a network lays it out."""
    generator = torch.Generator().manual_seed(0)

    def noise() -> tuple[Tensor, ...]:
        made = torch.randn(2, TOKENS, 3, 2, WIDTH, generator=generator).to(device, dtype)
        return tuple(made.permute(2, 0, 3, 1, 4))

    q, k, v = noise()
    moving: list[Along] = [noise(), (None, 3 * noise()[1] + 2, None)]
    found, moved = kernel(q, k, v, moving, WIDTH**-0.5)
    pairs = [(found, _formulas(q, k, v, moving[0])[0])]
    pairs += [(one, _formulas(q, k, v, along)[1]) for one, along in zip(moved, moving, strict=True)]
    gaps = [(one.double() - other).norm() / other.norm() for one, other in pairs]
    return float(torch.stack(gaps).nan_to_num(torch.inf).max())


def _formulas(q: Tensor, k: Tensor, v: Tensor, along: Along) -> tuple[Tensor, Tensor]:
    """Return o and ȯ in float64, by the equations of `rules.attention`."""
    dq, dk, dv = (
        torch.zeros_like(own).double() if one is None else one.double()
        for own, one in zip((q, k, v), along, strict=True)
    )
    q, k, v = q.double(), k.double(), v.double()
    weights = (WIDTH**-0.5 * q @ k.mT).softmax(-1)
    bent = weights * (WIDTH**-0.5 * (dq @ k.mT + q @ dk.mT))
    bent = bent - weights * bent.sum(-1, keepdim=True)
    return weights @ v, bent @ v + weights @ dv
