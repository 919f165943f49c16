"""Batch-norm folding into the convolution before it (J3): one operation less for each tangent.

With s = γ/√(σ²+ε): W' = W·s and b' = β + (b - μ)·s, so that δW' = δW·s + W·δs and
δb' = δβ + (b - μ)·δs + δb·s, with δs = δγ/√(σ²+ε).
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from tangent.backbones.suffix import Suffix, Tangent
from tangent.jvp.dual import CONSTANT


@dataclass(frozen=True)
class Fold:
    """A convolution and its batch norm, and the one convolution that equals the pair."""

    names: tuple[str, ...]  # the pair's tangent parameters
    weight: nn.Parameter  # the convolution's own
    gain: nn.Parameter  # the batch norm's own
    kernel: Tensor
    shift: Tensor
    _own: tuple[str, str | None, str, str]  # names of W, b, γ, β
    _weight: Tensor  # W and γ, before they were rounded
    _gain: Tensor
    _scale: Tensor  # 1/√(σ²+ε)
    _above: Tensor  # b - μ

    def seeds(self, direction: Tangent) -> list[tuple[Tensor, Tensor]]:
        """Return the kernel and the shift, with their directions."""
        shape = (-1, *[1] * (self.kernel.ndim - 1))
        d_weight, d_bias, d_gain, d_shift = (
            direction.get(name) if name else None for name in self._own
        )
        d_scale = torch.zeros_like(self._scale) if d_gain is None else d_gain * self._scale
        d_kernel = self._weight * d_scale.view(shape)
        if d_weight is not None:
            d_kernel += d_weight * (self._gain * self._scale).view(shape)
        d_new = self._above * d_scale
        if d_bias is not None:
            d_new = d_new + d_bias * self._gain * self._scale
        d_new = d_new if d_shift is None else d_new + d_shift
        kind = self.kernel.dtype
        return [(self.kernel, d_kernel.to(kind)), (self.shift, d_new.to(kind))]


def foldable_pairs(suffix: Suffix) -> list[Fold]:
    """Return the pairs in which only the batch norm reads the convolution's result."""
    trace = _Trace()
    with torch.no_grad(), trace:
        suffix.model(suffix.probe)
    model = suffix.model
    names = {id(p): name for name, p in model.named_parameters()}
    named = chain(model.named_parameters(), model.named_buffers())
    exact = {id(tensor): suffix.exact[name] for name, tensor in named}
    return [
        _fold(convolution, norm, names, exact, suffix.base)
        for convolution, norm in trace.pairs()
        if all(id(p) in names for p in (convolution.weight, norm.weight, norm.bias))
    ]


def _fold(
    convolution: "_Call",
    norm: "_Call",
    names: dict[int, str],
    exact_of: dict[int, Tensor],
    base: Tangent,
) -> Fold:
    def exact(value: Tensor) -> Tensor:
        return exact_of.get(id(value), value).detach()

    weight, gain, shift = (exact(p) for p in (convolution.weight, norm.weight, norm.bias))
    scale = torch.rsqrt(exact(norm.extra["running_var"]) + norm.extra["eps"])
    mean, bias = exact(norm.extra["running_mean"]), convolution.bias
    above = -mean if bias is None else exact(bias) - mean
    own = tuple(names.get(id(p)) for p in (convolution.weight, bias, norm.weight, norm.bias))
    by, kind = gain * scale, convolution.weight.dtype
    return Fold(
        names=tuple(name for name in own if name in base),
        weight=convolution.weight,
        gain=norm.weight,
        kernel=(weight * by.view(-1, *[1] * (weight.ndim - 1))).to(kind),
        shift=(shift + above * by).to(kind),
        _own=cast(Any, own),
        _weight=weight,
        _gain=gain,
        _scale=scale,
        _above=above,
    )


@dataclass
class _Call:
    weight: Any
    bias: Any
    extra: dict[str, Any]
    result: Any = None
    readers: int = 0


class _Trace(TorchFunctionMode):
    """Records the readers of every convolution's result."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[
            int, _Call
        ] = {}  # by the result's id; the result is kept, so the id stays unique
        self._pairs: list[tuple[_Call, _Call]] = []
        self._used: list[int] = []  # weights, one entry a use

    def pairs(self) -> list[tuple[_Call, _Call]]:
        return [
            (convolution, norm)
            for convolution, norm in self._pairs
            if convolution.readers == 1
            and self._used.count(id(convolution.weight)) == 1
            and self._used.count(id(norm.weight)) == 1
        ]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        reads = [self._made[id(a)] for a in (*args, *kwargs.values()) if id(a) in self._made]
        if func not in CONSTANT:  # a query of the shape is not a read
            for call in reads:
                call.readers += 1
        result = func(*args, **kwargs)
        if func in (F.conv1d, F.conv2d, F.conv3d):
            call = _convolution(*args, **kwargs)
            call.result = result
            self._made[id(result)] = call
            self._used.append(id(call.weight))
        elif func is F.batch_norm:
            norm = _norm(*args, **kwargs)
            self._used.append(id(norm.weight))
            if reads and norm.extra["fixed"]:
                self._pairs.append((reads[0], norm))
        return result


def _convolution(_input: Tensor, weight: Any, bias: Any = None, *_: Any, **__: Any) -> _Call:
    return _Call(weight, bias, {})


def _norm(
    _input: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> _Call:
    fixed = not training and running_mean is not None and weight is not None and bias is not None
    extra = dict(running_mean=running_mean, running_var=running_var, eps=eps, fixed=fixed)
    return _Call(weight, bias, extra)
