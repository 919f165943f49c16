"""The generic jvp engine for any model: `torch.func.jvp` on the suffix."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from tangent.backbones.suffix import Suffix
from tangent.jvp.engine import Tangent


class Generic:
    """The generic engine, with unfused attention: fused kernels have no forward derivative."""

    name = "generic"

    def __init__(self, suffix: Suffix, reason: str) -> None:
        self.suffix, self.reason = suffix, reason

    def rows(self, images: Tensor) -> Tensor:
        return self.suffix.activation(images)

    def activation(self, rows: Tensor) -> Tensor:
        return rows

    def prepare(self, direction: Tangent) -> Tangent:
        return {name: direction[name] for name in self.suffix.base}  # torch requires this order

    def push(self, rows: Tensor, prepared: Sequence[Tangent]) -> tuple[Tensor, list[Tensor]]:
        def features(parameters: Tangent) -> Tensor:
            return self.suffix.features(parameters, rows)

        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            pushed = [
                jvp(features, (self.suffix.base,), (direction,))[:2] for direction in prepared
            ]
            phi = pushed[0][0] if pushed else self.suffix.run(rows)
        return phi, [along for _, along in pushed]

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        return self.suffix.vjp(rows, cotangent)
