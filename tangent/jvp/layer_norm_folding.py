"""Layer-norm folding: the affine parts of a block's norms move into the next layers.

W' = W·diag(γ) and b' = b + Wβ. A direction is folded by the derivative of this map, a gradient
unfolded by its transpose; both are linear and cost as much as reading the parameters.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tangent.backbones.suffix import Tangent

LAYERS = {"qkv": ("attn.qkv", "norm1"), "proj": ("attn.proj", None)} | {
    "fc1": ("mlp.fc1", "norm2"),
    "fc2": ("mlp.fc2", None),
}


@dataclass(frozen=True)
class Folded:
    """Weights (out, in) and biases of the four layers, and the scales; or a direction of them."""

    qkv: tuple[Tensor, Tensor]
    proj: tuple[Tensor, Tensor]
    fc1: tuple[Tensor, Tensor]
    fc2: tuple[Tensor, Tensor]
    ls1: Tensor | None  # the layer scales, if the block has them
    ls2: Tensor | None
    last: tuple[Tensor, Tensor]  # gain and shift of the model's last norm

    def to(self, kind: torch.dtype) -> "Folded":
        """Return it with all numbers in this type."""

        def pair(layer: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return layer[0].to(kind), layer[1].to(kind)

        return Folded(
            qkv=pair(self.qkv),
            proj=pair(self.proj),
            fc1=pair(self.fc1),
            fc2=pair(self.fc2),
            ls1=None if self.ls1 is None else self.ls1.to(kind),
            ls2=None if self.ls2 is None else self.ls2.to(kind),
            last=pair(self.last),
        )


class BlockParameters:
    """The base parameters of one block and of the last norm, by their names in the model."""

    def __init__(self, base: Tangent, prefix: str) -> None:
        """`prefix`: the block's name in the model, with a dot."""
        self._base, self._prefix = base, prefix
        self.folded = Folded(
            **{layer: self._layer(layer) for layer in LAYERS},
            ls1=self._own(base, "ls1.gamma"),
            ls2=self._own(base, "ls2.gamma"),
            last=(base["norm.weight"], base["norm.bias"]),
        )

    def fold(self, direction: Tangent) -> Folded:
        """Return the folded direction: δW' = δW·γ + W·δγ, δb' = δb + δW·β + W·δβ."""
        return Folded(
            **{layer: self._layer_along(layer, direction) for layer in LAYERS},
            ls1=self._own(direction, "ls1.gamma"),
            ls2=self._own(direction, "ls2.gamma"),
            last=(direction["norm.weight"], direction["norm.bias"]),
        )

    def unfold(self, gradient: Folded) -> Tangent:
        """Return the parameters' gradient, by the transpose of `fold`."""
        own: dict[str, Tensor] = {}
        for layer, (name, norm) in LAYERS.items():
            g_weight, g_bias = getattr(gradient, layer)
            weight = self._own(self._base, f"{name}.weight")
            assert weight is not None
            if norm:
                gain, shift = self._norm(self._base, norm)
                own[f"{norm}.weight"] = (g_weight * weight).sum(0)
                own[f"{norm}.bias"] = weight.T @ g_bias
                g_weight = torch.addr(g_weight * gain, g_bias, shift)
            own[f"{name}.weight"], own[f"{name}.bias"] = g_weight, g_bias
        if gradient.ls1 is not None:
            own["ls1.gamma"] = gradient.ls1
        if gradient.ls2 is not None:
            own["ls2.gamma"] = gradient.ls2
        named = {self._prefix + name: value for name, value in own.items()}
        named["norm.weight"], named["norm.bias"] = gradient.last
        return {name: named[name] for name in self._base}

    def _layer(self, layer: str) -> tuple[Tensor, Tensor]:
        name, norm = LAYERS[layer]
        weight, bias = (
            self._own(self._base, f"{name}.weight"),
            self._own(self._base, f"{name}.bias"),
        )
        assert weight is not None
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if norm is None:
            return weight, bias
        gain, shift = self._norm(self._base, norm)
        return weight * gain, bias + weight @ shift

    def _layer_along(self, layer: str, direction: Tangent) -> tuple[Tensor, Tensor]:
        name, norm = LAYERS[layer]
        d_weight = self._own(direction, f"{name}.weight")
        d_bias = self._own(direction, f"{name}.bias")
        assert d_weight is not None
        d_bias = d_weight.new_zeros(len(d_weight)) if d_bias is None else d_bias
        if norm is None:
            return d_weight, d_bias
        weight: Any = self._own(self._base, f"{name}.weight")
        gain, shift = self._norm(self._base, norm)
        d_gain, d_shift = self._norm(direction, norm)
        return d_weight * gain + weight * d_gain, d_bias + d_weight @ shift + weight @ d_shift

    def _norm(self, of: Tangent, norm: str) -> tuple[Tensor, Tensor]:
        return of[f"{self._prefix}{norm}.weight"], of[f"{self._prefix}{norm}.bias"]

    def _own(self, of: Tangent, name: str) -> Tensor | None:
        return of.get(self._prefix + name)
