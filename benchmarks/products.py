"""The matrix products and convolutions of a pass, recorded, to be run again without all the rest.

They are what a pass cannot do without: three for a layer that a tangent passes and that has a
direction, two where one of both is missing, one in the frozen prefix. What a pass costs beyond its
products is what rules and layouts may still save.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten: Any = torch.ops.aten
MATRICES = (
    *(aten.mm.default, aten.mm.out, aten.addmm.default, aten.addmm_.default),
    *(aten.bmm.default, aten.bmm.out, aten.baddbmm.default, aten.baddbmm_.default),
)
ADDED = (aten.addmm_.default, aten.baddbmm_.default)
FUSED: dict[Any, tuple] = {  # attention in one kernel, and what it takes beside its three matrices
    aten._scaled_dot_product_flash_attention_for_cpu.default: (),
    aten._scaled_dot_product_flash_attention.default: (),
    aten._scaled_dot_product_efficient_attention.default: (None, False),
    aten._scaled_dot_product_cudnn_attention.default: (None, False),
}
Layout = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device]


@dataclass
class Products(TorchDispatchMode):
    """While it is entered, keeps what every product was given, as shapes and strides."""

    calls: list[tuple[Any, list[Layout], tuple]] = field(default_factory=list)
    multiplications: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in MATRICES:
            a, b = args[-2:]
            self._keep(func, (a, b), (), a.numel() * b.shape[-1])
        elif func is aten.convolution.default:
            self._keep(func, args[:2], tuple(args[3:]), result.numel() * prod(args[1].shape[1:]))
        elif func in FUSED:
            query, key = args[:2]
            self._keep(func, args[:3], FUSED[func], 2 * query.numel() * key.shape[-2])
        return result

    def _keep(self, func: Any, given: Sequence[Tensor], rest: tuple, multiplied: int) -> None:
        layouts = [(t.shape, t.stride(), t.dtype, t.device) for t in given]
        self.calls.append((func, layouts, rest))
        self.multiplications += multiplied

    def again(self) -> Callable[[], None]:
        """The same products on numbers of the same layouts, into memory that is there already."""
        memory: dict[tuple[str, Layout], Tensor] = {}

        def place(role: str, layout: Layout) -> Tensor:
            shape, stride, dtype, device = layout
            if (role, layout) not in memory:
                new = torch.empty_strided(shape, stride, dtype=dtype, device=device)
                memory[role, layout] = new.fill_(1e-3)
            return memory[role, layout]

        ready = []
        for func, layouts, rest in self.calls:
            given = [place(f"argument {i}", layout) for i, layout in enumerate(layouts)]
            if func in MATRICES:
                a, b = given
                shape = torch.Size((*a.shape[:-1], b.shape[-1]))
                stride = torch.empty(shape, device="meta").stride()
                out = place("result", (shape, stride, a.dtype, a.device))
                ready.append(_product(func, a, b, out))
            elif func in FUSED:
                ready.append(partial(func, *given, *rest))
            else:
                ready.append(partial(aten.convolution, *given, None, *rest))

        @torch.no_grad()
        def run() -> None:
            for product in ready:
                product()

        return run


def _product(func: Any, a: Tensor, b: Tensor, out: Tensor) -> Callable[[], object]:
    """The product, added to what is there where the pass does that."""
    if func in ADDED:
        return lambda: (out.addmm_ if out.ndim == 2 else out.baddbmm_)(a, b)
    return lambda: torch.matmul(a, b, out=out)


def recorded(way: Callable[[], object]) -> Products:
    """The products of one pass."""
    products = Products()
    with products:
        way()
    return products
