"""The generic jvp engine for any model: `torch.func.jvp` on the suffix."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

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

        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _ContiguousGroupNorms():
            pushed = [
                jvp(features, (self.suffix.base,), (direction,))[:2] for direction in prepared
            ]
            phi = pushed[0][0] if pushed else self.suffix.run(rows)
        return phi, [along for _, along in pushed]

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        return self.suffix.vjp(rows, cotangent)


class _ContiguousGroupNorms(TorchFunctionMode):
    """Gives group norms contiguous copies: torch's forward derivative fails on other strides.

    `contiguous` would not do: it leaves a tangent as it is where the value is contiguous already.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.group_norm or func is torch.group_norm:
            args = (args[0].clone(memory_format=torch.contiguous_format), *args[1:])
        return func(*args, **(kwargs or {}))
