"""Plain passes of a model, as quick as torch makes them: as it is, captured, compiled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def eager(_device: torch.device, model: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return the pass as it is."""

    @torch.inference_mode()
    def run() -> Tensor:
        found: Tensor = model(x)
        return found

    return run


def captured(device: torch.device, model: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return the replay of the pass as a CUDA graph.

    Raises:
        RuntimeError: the device has no graphs.
    """
    if device.type != "cuda":
        raise RuntimeError(f"{device} has no graphs")
    run, graph, beside = eager(device, model, x), torch.cuda.CUDAGraph(), torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(beside)
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def compiled(device: torch.device, model: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return the replay of the compiled pass."""
    made: Any = torch.compile(model)
    return captured(device, made, x) if device.type == "cuda" else eager(device, made, x)


PLAIN = {"eager": eager, "captured": captured, "compiled and captured": compiled}
