"""Operations on one entry at a time (J4): ẏ = f'(x)·ẋ.

A diagonal Jacobian is its own transpose, so the kernels of back-propagation are used unchanged.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.jvp.dual import Duals, NoRule, Tangents, rule

T: Any = Tensor
aten: Any = torch.ops.aten


def pointwise(forward: Callable[..., Tensor], backward: Callable[..., Tensor]) -> Any:
    """The rule of `y = forward(x, …)`; `backward(ẋ, x, y, …)` gives ẏ."""

    def apply(
        duals: Duals, x: Tensor, *args: Any, inplace: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tangents]:
        own = duals.of(x)
        if own is None or duals.any_of(args) or duals.any_of(list(kwargs.values())):
            raise NoRule(forward, "moves with an argument other than its first")
        if not inplace:
            y = forward(x, *args, **kwargs)
            return y, [backward(t, x, y, *args, **kwargs) for t in own]
        duals.check_writable(x)
        if backward is _relu:  # the only one that needs the result
            y = forward(x, *args, inplace=True, **kwargs)
            moved = [backward(t, x, y, *args, **kwargs) for t in own]
        else:
            moved = [backward(t, x, x, *args, **kwargs) for t in own]
            forward(x, *args, inplace=True, **kwargs)
        return x, duals.write(x, moved)

    return apply


def _gelu(t: Tensor, x: Tensor, y: Tensor, approximate: str = "none") -> Tensor:
    """J5: ẋ·(Φ(x) + x·φ(x))."""
    return cast(Tensor, aten.gelu_backward(t, x, approximate=approximate))


def _relu(t: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """J4: ẋ·1[y > 0], 0 at the kink."""
    return cast(Tensor, aten.threshold_backward(t, y, 0))


def _power(t: Tensor, x: Tensor, y: Tensor, exponent: float) -> Tensor:
    return t * (exponent * x.pow(exponent - 1))


def _clamp(t: Tensor, x: Tensor, y: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return torch.where(x.clamp(min, max) == x, t, 0)


def _hardtanh(
    t: Tensor, x: Tensor, y: Tensor, min_val: float = -1.0, max_val: float = 1.0
) -> Tensor:
    return cast(Tensor, aten.hardtanh_backward(t, x, min_val, max_val))


def _softplus(t: Tensor, x: Tensor, y: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    return cast(Tensor, aten.softplus_backward(t, x, beta, threshold))


KERNELS: list[tuple[Any, Any, list[Any]]] = [
    (F.gelu, _gelu, [F.gelu]),
    (F.relu, _relu, [F.relu, torch.relu, T.relu]),
    (F.silu, lambda t, x, y: aten.silu_backward(t, x), [F.silu]),
    (F.mish, lambda t, x, y: aten.mish_backward(t, x), [F.mish]),
    (F.hardswish, lambda t, x, y: aten.hardswish_backward(t, x), [F.hardswish]),
    (F.hardsigmoid, lambda t, x, y: aten.hardsigmoid_backward(t, x), [F.hardsigmoid]),
    (F.relu6, lambda t, x, y: aten.hardtanh_backward(t, x, 0, 6), [F.relu6]),
    (F.hardtanh, _hardtanh, [F.hardtanh]),
    (
        F.leaky_relu,
        lambda t, x, y, negative_slope=0.01: aten.leaky_relu_backward(t, x, negative_slope, False),
        [F.leaky_relu],
    ),
    (
        F.elu,
        lambda t, x, y, alpha=1.0: aten.elu_backward(t, alpha, 1, 1, False, x),
        [F.elu],
    ),
    (torch.sigmoid, lambda t, x, y: aten.sigmoid_backward(t, y), [torch.sigmoid, T.sigmoid]),
    (torch.tanh, lambda t, x, y: aten.tanh_backward(t, y), [torch.tanh, T.tanh, F.tanh]),
    (F.softplus, _softplus, [F.softplus]),
    (torch.exp, lambda t, x, y: t * y, [torch.exp, T.exp]),
    (torch.log, lambda t, x, y: t / x, [torch.log, T.log]),
    (torch.sqrt, lambda t, x, y: t / (2 * y), [torch.sqrt, T.sqrt]),
    (torch.rsqrt, lambda t, x, y: -0.5 * t * y**3, [torch.rsqrt, T.rsqrt]),
    (torch.square, lambda t, x, y: 2 * t * x, [torch.square, T.square]),
    (torch.abs, lambda t, x, y: t * x.sign(), [torch.abs, T.abs]),
    (torch.reciprocal, lambda t, x, y: -t * y * y, [torch.reciprocal, T.reciprocal]),
    (torch.sin, lambda t, x, y: t * x.cos(), [torch.sin, T.sin]),
    (torch.cos, lambda t, x, y: -t * x.sin(), [torch.cos, T.cos]),
    (torch.pow, _power, [torch.pow, T.pow, T.__pow__]),
    (torch.clamp, _clamp, [torch.clamp, T.clamp]),
]
for _forward, _backward, _operations in KERNELS:
    rule(*_operations)(pointwise(_forward, _backward))


@rule(F.glu)
def glu(duals: Duals, x: Tensor, dim: int = -1) -> tuple[Tensor, Tangents]:
    """a·σ(b) with [a, b] = x: (ȧ + a·(1 - σ(b))·ḃ)·σ(b)."""
    own = duals.of(x) or []
    a, b = x.chunk(2, dim)
    gate = b.sigmoid()
    moved = []
    for t in own:
        da, db = t.chunk(2, dim)
        moved.append((da + a * (1 - gate) * db) * gate)
    return a * gate, moved


@rule(F.prelu, torch.prelu)
def prelu(duals: Duals, x: Tensor, weight: Tensor) -> tuple[Tensor, Tangents]:
    """y = x above 0, w·x below."""
    shaped = weight.view(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else weight
    slope, below = torch.where(x > 0, 1, shaped), x.clamp(max=0)
    moved = []
    for dx, dw in duals.along(x, weight):
        part = torch.zeros_like(x) if dx is None else slope * dx
        moved.append(part if dw is None else part + below * dw.view(shaped.shape))
    return F.prelu(x, weight), moved
