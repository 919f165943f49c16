"""Normalisation: over channels, groups, a batch's running statistics, and softmax."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.backbones.casting import wide
from tangent.jvp.dual import Duals, NoRule, Tangents, rule

T: Any = Tensor
aten: Any = torch.ops.aten
Maybe = Tensor | None


def _affine(moved: Maybe, plain: Tensor, gain: Maybe, d_gain: Maybe, d_shift: Maybe) -> Tensor:
    """γ⊙ẋ̂ + x̂⊙δγ + δβ; a term that is None is left out."""
    if moved is not None and gain is not None:
        moved = moved * gain
    if d_gain is not None:
        moved = plain * d_gain if moved is None else torch.addcmul(moved, plain, d_gain)
    if d_shift is not None:
        moved = d_shift.expand_as(plain) if moved is None else moved.add_(d_shift)
    return torch.zeros_like(plain) if moved is None else moved


def _by_channel(values: Maybe, x: Tensor) -> Maybe:
    """Values of channels beside x, whose second axis they are: the same for all rows, or not."""
    if values is None or values.ndim > 1:
        return None if values is None else values.movedim(-1, 1)
    return values.view(-1, *[1] * (x.ndim - 2))


@rule(F.layer_norm, torch.layer_norm)
def layer_norm(
    duals: Duals,
    x: Tensor,
    shape: Any,
    weight: Maybe = None,
    bias: Maybe = None,
    eps: float = 1e-5,
    *_: Any,
) -> tuple[Tensor, Tangents]:
    """J6: ẏ = γ⊙(ẋ - mean(ẋ) - x̂·mean(x̂⊙ẋ))/σ + x̂⊙δγ + δβ.

    The Jacobian of the normalisation itself is symmetric: its back-propagation is its rule.
    """
    shape = tuple(shape)
    result, mean, scale = torch.native_layer_norm(x, shape, weight, bias, eps)
    plain = None
    moved = []
    for dx, d_gain, d_shift in duals.along(x, weight, bias):
        if dx is not None:
            dx = aten.native_layer_norm_backward(
                dx.contiguous(), x, shape, mean, scale, None, None, [True, False, False]
            )[0]
        if plain is None and (d_gain is not None or dx is None):
            plain = torch.native_layer_norm(x, shape, None, None, eps)[0]
        moved.append(_affine(dx, result if plain is None else plain, weight, d_gain, d_shift))
    return result, moved


@rule(F.rms_norm)
def rms_norm(
    duals: Duals, x: Tensor, shape: Any, weight: Maybe = None, eps: float | None = None
) -> tuple[Tensor, Tangents]:
    """x̂ = x/r, r² = mean(x²) + ε: ẏ = γ⊙(ẋ - x̂·mean(x̂⊙ẋ))/r + x̂⊙δγ."""
    shape, kind = tuple(shape), x.dtype
    over = tuple(range(-len(shape), 0))
    eps = torch.finfo(kind).eps if eps is None else eps
    exact = wide(x)
    scale = torch.rsqrt(exact.square().mean(over, keepdim=True) + eps)
    plain = exact * scale
    moved = []
    for dx, d_gain in duals.along(x, weight):
        if dx is not None:
            dx = (dx - plain * (plain * dx).mean(over, keepdim=True)) * scale
        moved.append(_affine(dx, plain, weight, d_gain, None).to(kind))
    return (plain if weight is None else plain * weight).to(kind), moved


@rule(F.group_norm, torch.group_norm)
def group_norm(
    duals: Duals,
    x: Tensor,
    groups: int,
    weight: Maybe = None,
    bias: Maybe = None,
    eps: float = 1e-5,
    *_: Any,
) -> tuple[Tensor, Tangents]:
    """J6 over the entries of a group of channels."""
    grouped = x.reshape(len(x), groups, -1)
    by_channel = [_by_channel(p, x) for p in (weight, bias)]
    plain, mean, scale = torch.native_layer_norm(grouped, grouped.shape[2:], None, None, eps)
    moved = []
    for dx, *d_affine in duals.along(x, weight, bias):
        if dx is not None:
            dx = aten.native_layer_norm_backward(
                dx.reshape(grouped.shape),
                grouped,
                grouped.shape[2:],
                mean,
                scale,
                None,
                None,
                [True, False, False],
            )[0].view(x.shape)
        shaped = [_by_channel(p, x) for p in d_affine]
        moved.append(_affine(dx, plain.view(x.shape), by_channel[0], *shaped))
    return F.group_norm(x, groups, weight, bias, eps), moved


@rule(F.instance_norm)
def instance_norm(
    duals: Duals,
    x: Tensor,
    running_mean: Maybe = None,
    running_var: Maybe = None,
    weight: Maybe = None,
    bias: Maybe = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tangents]:
    """J6 with every channel as a group."""
    if running_mean is not None:
        raise NoRule(F.instance_norm, "keeps running statistics")
    return group_norm(duals, x, x.shape[1], weight, bias, eps)


@rule(F.batch_norm)
def batch_norm(
    duals: Duals,
    x: Tensor,
    running_mean: Maybe,
    running_var: Maybe,
    weight: Maybe = None,
    bias: Maybe = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tangents]:
    """J3, at fixed statistics: ẏ = γ·ẋ/√(σ²+ε) + (x-μ)/√(σ²+ε)·δγ + δβ.

    For a single row (a kernel that standardises itself) it equals layer_norm of every channel.
    """
    if training and running_mean is None and len(x) == 1:
        return _standardised(duals, x, weight, bias, eps)
    if training or running_mean is None or running_var is None:
        raise NoRule(F.batch_norm, "uses the batch's own statistics")
    channels = (-1, *[1] * (x.ndim - 2))
    scale = torch.rsqrt(wide(running_var) + eps).to(running_var)
    gain = scale if weight is None else scale * weight
    result = F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    moved = []
    for dx, d_gain, d_shift in duals.along(x, weight, bias):
        part = None if dx is None else dx * gain.view(channels)
        if d_gain is not None:
            by, at = d_gain * scale, d_gain * scale * running_mean
            d_shift = -at if d_shift is None else d_shift - at
            part = _affine(part, x, None, _by_channel(by, x), None)
        if d_shift is not None:
            part = _affine(part, x, None, None, _by_channel(d_shift, x))
        moved.append(torch.zeros_like(result) if part is None else part)
    return result, moved


def _standardised(
    duals: Duals, x: Tensor, weight: Maybe, bias: Maybe, eps: float
) -> tuple[Tensor, Tangents]:
    """Every channel of the only row, normalised by its own mean and deviation."""
    channels = x[0].flatten(1)
    shape = channels.shape[1:]
    plain, mean, scale = torch.native_layer_norm(channels, shape, None, None, eps)
    gain, shift = (None if p is None else p.view(-1, 1) for p in (weight, bias))
    moved = []
    for dx, *d_affine in duals.along(x, weight, bias):
        if dx is not None:
            dx = aten.native_layer_norm_backward(
                dx.reshape(channels.shape),
                channels,
                shape,
                mean,
                scale,
                None,
                None,
                [True, False, False],
            )[0]
        d_gain, d_shift = (None if p is None else p.view(-1, 1) for p in d_affine)
        moved.append(_affine(dx, plain, gain, d_gain, d_shift).view(x.shape))
    result = plain if gain is None else plain * gain
    return (result if shift is None else result + shift).view(x.shape), moved


@rule(T.norm, torch.norm, torch.linalg.vector_norm)
def norm(
    duals: Duals,
    x: Tensor,
    p: Any = 2,
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> tuple[Tensor, Tangents]:
    """y = |x|: ẏ = Σ xẋ / y, 0 at x = 0."""
    if p not in (2, "fro") or dtype not in (None, x.dtype):
        raise NoRule(torch.norm, f"is of order {p} or changes the type")
    axes = tuple(range(x.ndim)) if dim is None else dim
    result = torch.linalg.vector_norm(x, 2, axes, keepdim)
    inverse = torch.where(result > 0, 1 / result, 0)
    return result, [(x * t).sum(axes, keepdim) * inverse for t in duals.of(x) or []]


@rule(F.softmax, torch.softmax, T.softmax)
def softmax(
    duals: Duals, x: Tensor, dim: int, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tangents]:
    """J7's Ṗ = P⊙ẋ - P⊙rowsum(P⊙ẋ): symmetric, so the kernel of back-propagation computes it."""
    own = duals.of(x) or []
    kind = kwargs.get("dtype") or next((a for a in args if isinstance(a, torch.dtype)), None)
    result = torch.softmax(x, dim, dtype=kind)  # in a type of its own, under autocast too
    kind = result.dtype
    return result, [aten._softmax_backward_data(t.to(kind), result, dim, kind) for t in own]


@rule(F.normalize)
def normalize(
    duals: Duals, x: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Any = None
) -> tuple[Tensor, Tangents]:
    """y = x/max(|x|, ε): ẏ = (ẋ - y·Σ yẋ)/|x|, and ẋ/ε for the shorter ones."""
    if p != 2.0:
        raise NoRule(F.normalize, f"is of the norm {p}")
    own = duals.of(x) or []
    length = x.norm(p, dim, keepdim=True)
    bounded = length.clamp_min(eps)
    result = x / bounded
    long = length > eps
    return result, [
        torch.where(long, t - result * (result * t).sum(dim, keepdim=True), t) / bounded
        for t in own
    ]
