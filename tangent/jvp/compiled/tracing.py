"""Compilation: an engine's pass is traced into operations of torch, which `torch.compile` fuses.

Tracing runs the engine once and notes each operation, so that hooks, jvp rules and looked-up
tangents leave nothing behind but the operations themselves, at fixed shapes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from tangent.jvp.compiled.recorder import Outputs
from tangent.jvp.compiled.recording import Pass

Compiler = Callable[[Any], Callable[..., Any]]


def inductor(graph: Any) -> Callable[..., Any]:
    """Return the graph as torch's own compiler makes it, at the shapes of its first call."""
    return torch.compile(graph, dynamic=False)


def compiled(
    run: Pass, images: Tensor, tensors: Sequence[Tensor], compiler: Compiler = inductor
) -> Pass:
    """Return `run` compiled for these shapes; the first call of the result has been made.

    Raises:
        Exception: of many kinds, if an operation cannot be traced or compiled.
    """

    def flat(*given: Tensor) -> Outputs:
        return run(given[0], given[1:])

    with torch.no_grad():
        made = compiler(make_fx(flat)(images, *tensors))
        made(images, *tensors)

    def call(own: Tensor, directions: Sequence[Tensor]) -> Outputs:
        return list(made(own, *directions))

    return call
