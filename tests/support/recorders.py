"""A recorder that behaves as CUDA graphs do, on a processor, and spaces with passes through it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tangent
from tangent.jvp.compiled import passes as made_passes
from tangent.jvp.compiled.passes import RECORDED, Passes
from tangent.spaces.twin import Twin
from tests.support.models import backbone

Outputs = list[Tensor]


class FakeGraphs:
    """Replays into the outputs of the capture; each replay spoils the outputs of all others.

    So do graphs that share a pool of memory. `failing` is raised by the next captures.
    """

    def __init__(self) -> None:
        self.captures = self.replays = 0
        self.free = 1.0
        self.failing: Exception | None = None
        self._outputs: list[Outputs] = []

    def capture(self, run: Callable[[], Outputs]) -> Callable[[], Outputs]:
        if self.failing is not None:
            raise self.failing
        self.captures += 1
        outputs = [each.clone() for each in run()]
        self._outputs.append(outputs)

        def replay() -> Outputs:
            self.replays += 1
            for others in self._outputs:
                for each in others:
                    each.fill_(float("nan"))
            for own, found in zip(outputs, run(), strict=True):
                own.copy_(found)
            return outputs

        return replay

    def free_share(self) -> float:
        return self.free


class Tape(TorchDispatchMode):
    """Notes every operation, and refuses those that a capture refuses: they wait for the host."""

    REFUSED = frozenset(
        {
            torch.ops.aten._local_scalar_dense.default,  # a number that Python reads
            torch.ops.aten.lift_fresh.default,  # a tensor of Python's numbers
            torch.ops.aten.nonzero.default,  # its shape depends on the numbers
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in self.REFUSED:
            raise RuntimeError(f"{function} is not permitted when stream is capturing")
        found = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, _tensors(found)))
        return found


class Operations:
    """Replays the operations of the capture on the tensors of the capture, as CUDA graphs do.

    Nothing of the step's own code runs again.
    """

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def capture(self, run: Callable[[], Outputs]) -> Callable[[], Outputs]:
        self.captures += 1
        with Tape() as tape:
            outputs = run()

        @torch.no_grad()
        def replay() -> Outputs:
            self.replays += 1
            for function, args, kwargs, before in tape.calls:
                for own, found in zip(before, _tensors(function(*args, **kwargs)), strict=True):
                    if own.untyped_storage().data_ptr() != found.untyped_storage().data_ptr():
                        own.copy_(found)  # else it is a view, or was changed in place
            return outputs

        return replay

    def free_share(self) -> float:
        return 1.0


def _tensors(found: Any) -> list[Tensor]:
    return [each for each in tree_leaves(found) if isinstance(each, Tensor)]


def traced(graph):
    """A compiler that leaves the traced operations as they are."""
    return graph


def faster(
    name="mini", scope="last-block", *, steps=(RECORDED,), compiler=traced, dtype=None, **how
):
    """A space of its own whose passes go through a fake recorder, and the recorder."""
    where = tangent.Space(backbone(name, dtype or torch.float64), scope, **how)
    recorder = FakeGraphs()
    where.passes = Passes(lambda: Twin(where), recorder, steps, compiler)
    return where, recorder


def made(where, x, *deltas):
    """Ask until the pass is wanted, and make it."""
    return made_by(where, lambda: where.logits_of_each(x, deltas))


def made_by(where, ask):
    """Ask by this function until all passes that it wants are wanted, and make them."""
    for _ in range(made_passes.MIN_ASKED):
        ask()
    while where.passes.make_next():
        pass
    return where.passes.made
