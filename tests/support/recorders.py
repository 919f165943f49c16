"""A recorder that behaves as CUDA graphs do, on a processor, and spaces with passes through it."""

from collections.abc import Callable

import torch
from torch import Tensor

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
