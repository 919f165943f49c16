"""A recorder that behaves as CUDA graphs do, on a processor."""

from collections.abc import Callable

from torch import Tensor

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
