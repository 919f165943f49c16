"""The curvature of the objective along every layer of the backbone: Kronecker factors (K-FAC).

For a layer y = Wa, JᵀJ is a sum of (a⊗g)(a⊗g)ᵀ with g the layer's cotangents. Martens & Grosse
(2015) approximate it by A⊗S with A = Σaaᵀ, S = Σggᵀ. For a convolution, A is split into one factor
for the channels and one for the positions in its kernel.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangent.backbones.suffix import Suffix

MAX_FACTOR_SIZE = 2048  # entries of an axis with a factor


@dataclass(frozen=True)
class Curvature:
    """A model of JᵀJ summed over some rows: a trace for every parameter, factors for some.

    The factors are matrices over the axes of the parameter seen as (out, in) or (out, in, places);
    only their directions and proportions count.
    """

    traces: dict[str, float]
    factors: dict[str, list[Tensor]]


def curvature(suffix: Suffix, activation: Tensor, cotangent: Tensor) -> Curvature:
    """Estimate it by one back-propagation of random cotangents u: E|Jᵀu|² is the trace of JᵀJ."""
    names = {id(module): name for name, module in suffix.model.named_modules()}
    seen: dict[str, list[Tensor]] = {}

    def watch(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        name, inputs = names[id(module)], arguments[0].detach()
        if output.requires_grad:
            output.register_hook(
                lambda gradient: seen.setdefault(name, []).extend(
                    _factors(module, inputs, gradient.detach())
                )
            )

    layers = [m for m in suffix.model.modules() if _has_factors(m)]
    hooks = [module.register_forward_hook(watch) for module in layers]
    try:
        _, gradient = suffix.vjp(activation, cotangent)
    finally:
        for hook in hooks:
            hook.remove()
    return Curvature(
        traces={name: value.double().square().sum().item() for name, value in gradient.items()},
        factors={
            f"{name}.weight": axes
            for name, axes in seen.items()
            if f"{name}.weight" in suffix.base and len(axes) <= 3  # more: the layer ran twice
        },
    )


def _has_factors(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return max(module.weight.shape) <= MAX_FACTOR_SIZE
    if type(module) is not nn.Conv2d or isinstance(module.padding, str):
        return False
    return module.groups == 1 and module.padding_mode == "zeros"


def _factors(module: nn.Module, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
    """Σggᵀ and Σaaᵀ, and for a convolution also the factor of the positions in its kernel."""
    if isinstance(module, nn.Linear):
        a, g = inputs.flatten(0, -2), gradient.flatten(0, -2)
        return [g.T @ g, a.T @ a]
    assert isinstance(module, nn.Conv2d) and not isinstance(module.padding, str)
    g = gradient.transpose(0, 1).flatten(1)
    patches = F.unfold(
        inputs, module.kernel_size, module.dilation, module.padding, module.stride
    ).unflatten(1, (inputs.shape[1], -1))  # (B, channels, places, positions)
    channels = patches.transpose(0, 1).flatten(1)
    places = patches.permute(2, 0, 1, 3).flatten(1)
    return [g @ g.T, channels @ channels.T, places @ places.T]


def scaled(part: Curvature, times: float) -> Curvature:
    """The curvature of `times` as many rows."""
    return Curvature(
        {name: times * trace for name, trace in part.traces.items()},
        {name: [times * factor for factor in axes] for name, axes in part.factors.items()},
    )


def added(parts: list[Curvature]) -> Curvature:
    """The curvature of the union of disjoint rows."""
    first = parts[0]
    return Curvature(
        {name: sum(part.traces[name] for part in parts) for name in first.traces},
        {
            name: [torch.stack(axes).sum(0) for axes in zip(*lists, strict=True)]
            for name in first.factors
            if (lists := [part.factors[name] for part in parts])
        },
    )
