"""The generic jvp engine for any model: `torch.func.jvp` on the suffix."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from tangent.backbones.casting import NARROW, wide
from tangent.backbones.suffix import Suffix
from tangent.jvp.engine import Tangent
from tangent.jvp.groups import push_by_groups

GROUP_NORMS = F.group_norm, torch.group_norm
NORMS = (*GROUP_NORMS, F.layer_norm, torch.layer_norm)


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
        base = self.suffix.base.items()
        return {name: direction[name].to(p) for name, p in base}  # torch requires this order

    def push(self, rows: Tensor, prepared: Sequence[Tangent]) -> tuple[Tensor, list[Tensor]]:
        def features(parameters: Tangent) -> Tensor:
            return self.suffix.features(parameters, rows)

        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _Norms():
            pushed = [
                jvp(features, (self.suffix.base,), (direction,))[:2] for direction in prepared
            ]
            phi = pushed[0][0] if pushed else self.suffix.run(rows)
        return phi, [along for _, along in pushed]

    def push_own(
        self, rows: Tensor, prepared: Sequence[Tangent], own: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        return push_by_groups(self, rows, prepared, own)

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        return self.suffix.vjp(rows, cotangent)


class _Norms(TorchFunctionMode):
    """Gives norms what torch's forward derivative of them can use.

    Of a group norm it fails on strides, so the input is copied; `contiguous` would not do: it
    leaves a tangent as it is where the value is contiguous already. Of 16 bits it returns 32 on
    some devices, so norms of them are computed in 32 bits and rounded.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in GROUP_NORMS:
            args = (args[0].clone(memory_format=torch.contiguous_format), *args[1:])
        if func in NORMS and args and args[0].dtype in NARROW:
            named = {name: _wide(value) for name, value in kwargs.items()}
            normal: Tensor = func(*map(_wide, args), **named)
            return normal.to(args[0].dtype)
        return func(*args, **kwargs)


def _wide(value: Any) -> Any:
    return wide(value) if isinstance(value, Tensor) else value
