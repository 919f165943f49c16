"""Steps that repeat: recorded when they are seen to, so that each is started at once from then on.

A step reads what it is given, and memory that stays where it is. Its operations are the same when
it is recorded, and so are the bits of its results.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tangent.jvp.compiled.recorder import MIN_FREE, Outputs, Recorder

Step = Callable[[Sequence[Tensor]], Outputs]
Named = dict[str, Tensor]

log = logging.getLogger(__name__)


class Replayed:
    """A step that is recorded when it is given the shapes of the first call for the second time.

    Other shapes go through the step itself, and so does everything where it cannot be recorded.
    """

    def __init__(self, run: Step, recorder: Recorder) -> None:
        """`run` changes nothing but what it returns: it is called further times to be recorded."""
        self._run, self._recorder = run, recorder
        self._places: list[Tensor] = []
        self._replay: Callable[[], Outputs] | None = None

    def __call__(self, given: Sequence[Tensor]) -> Outputs:
        """Return what the step returns, in memory that the next call may overwrite."""
        if not self._places:
            self._places = [each.clone() for each in given]
            return self._run(given)
        pairs = list(zip(self._places, given, strict=True))
        if any(place.shape != each.shape for place, each in pairs):
            return self._run(given)
        for place, each in pairs:
            place.copy_(each, non_blocking=True)
        if self._replay is None:
            self._replay = self._recorded()
        return self._replay()

    def _recorded(self) -> Callable[[], Outputs]:
        run, places = self._run, self._places  # no reference to this object, which holds the result
        try:
            if self._recorder.free_share() < MIN_FREE:
                raise torch.OutOfMemoryError(f"less than {MIN_FREE:.0%} of the memory is free")
            return self._recorder.capture(lambda: run(places))
        except Exception as error:  # of many kinds, by what the step and its libraries do
            first = str(error).strip().split("\n", 1)[0]
            why = f"{type(error).__name__}: {first}"
            log.warning("steps of a training are not recorded: %s", why)
        return lambda: run(places)


def replayed(run: Step, recorder: Recorder | None) -> Step:
    """Return the step, recorded by the recorder if there is one."""
    return run if recorder is None else Replayed(run, recorder)


def replayed_map(
    run: Callable[[Named], Named], names: Sequence[str], recorder: Recorder | None
) -> Callable[[Named], Named]:
    """Return a step from tensors with these names to others with the same names, likewise."""
    if recorder is None:
        return run

    def step(given: Sequence[Tensor]) -> Outputs:
        found = run(dict(zip(names, given, strict=True)))
        return [found[name] for name in names]

    recorded = Replayed(step, recorder)
    return lambda given: dict(zip(names, recorded([given[name] for name in names]), strict=True))
