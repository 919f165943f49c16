"""Recorders: what turns a pass over fixed memory into something that is run again at once."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Outputs = list[Tensor]
MIN_FREE = 0.15  # of the device's memory, below which nothing further is recorded
WARM = 3  # calls before a capture: libraries choose their kernels and take their memory in them


class Recorder(Protocol):
    """Records passes of one device."""

    def capture(self, run: Callable[[], Outputs]) -> Callable[[], Outputs]:
        """Return a function that does what `run` does to the same memory.

        Its outputs may lie in memory that the next call of any recorded pass overwrites.
        """

    def free_share(self) -> float:
        """Return the free share of the device's memory, from 0 to 1."""


class CudaGraphs:
    """Records passes as CUDA graphs, which share one pool of memory.

    They may, as one thread at a time runs them, and copies the outputs before the next one runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, run: Callable[[], Outputs]) -> Callable[[], Outputs]:
        with torch.cuda.device(self._device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM):
                    run()
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = run()

        def replay() -> Outputs:
            graph.replay()
            return outputs

        return replay

    def free_share(self) -> float:
        free, total = torch.cuda.mem_get_info(self._device)
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return (free + held) / total  # torch holds memory that it can use again


class PlainCalls:
    """Records nothing: a pass is called again. For processors, where a call costs little."""

    def capture(self, run: Callable[[], Outputs]) -> Callable[[], Outputs]:
        return run

    def free_share(self) -> float:
        return 1.0


def recorder_on(device: torch.device, *, allowed: bool) -> Recorder | None:
    """Return what records steps of the device: CUDA graphs of a GPU where that is allowed."""
    return CudaGraphs(device) if allowed and device.type == "cuda" else None
