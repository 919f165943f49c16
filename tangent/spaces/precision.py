"""The number format of answers: 32 bits, or 16 on machines that compute faster in them.

Trainings, statistics and fingerprints are in the backbone's own type whatever it is. `auto` is
decided once in a process, by passes of both formats in turn.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

import torch

from tangent.vocabulary import PrecisionName

PRECISIONS: dict[PrecisionName, torch.dtype | None] = {
    "float32": None,  # the backbone's own type, whatever it is
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
AUTO = "auto"
CANDIDATE: PrecisionName = "bfloat16"  # with the range of float32, so that nothing overflows
GAIN = 0.9  # of the time in 32 bits, at most: a smaller gain is not worth the error
ROUNDS, SECONDS = 5, 0.3  # of one comparison, at most; one round at least
IMAGES = 4  # in a pass that is measured
SIDES = 512, 768, 768  # of a matrix product

Clock = Callable[[], float]
Pass = Callable[[], object]  # which has ended when it returns

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Precision:
    """A number format of answers, and the reason for it."""

    name: PrecisionName
    reason: str


class Decisions:
    """The decisions of `auto`, one for every kind of pass."""

    def __init__(self, clock: Clock = perf_counter) -> None:
        self._clock, self._lock = clock, Lock()
        self._made: dict[tuple[object, ...], Precision] = {}

    def made(self, kind: tuple[object, ...], decide: Callable[[Clock], Precision]) -> Precision:
        """Return the decision on this kind of pass, deciding it if it is the first of its kind."""
        with self._lock:  # two measurements at a time would measure each other
            found = self._made.get(kind)
            if found is None:
                found = self._made[kind] = decide(self._clock)
                log.info("answers of %s: %s, %s", kind[0], found.name, found.reason)
            return found


DECISIONS = Decisions()


def ratio(narrow: Pass, wide: Pass, clock: Clock = perf_counter) -> float:
    """Return the time of the pass in 16 bits over that in 32: the shortest of passes in turn."""
    began = clock()
    best = [float("inf"), float("inf")]
    for run in (narrow, wide):
        run()  # memory and kernels as in the rounds that count
    for _ in range(ROUNDS):
        for which, run in enumerate((narrow, wide)):
            start = clock()
            run()
            best[which] = min(best[which], clock() - start)
        if clock() - began > SECONDS:
            break
    return best[0] / best[1]


def products(device: torch.device, clock: Clock = perf_counter) -> float:
    """Return the time of a matrix product in CANDIDATE over that in float32, on this device."""
    rows, inner, columns = SIDES
    wide = torch.ones(rows, inner, device=device), torch.ones(inner, columns, device=device)
    narrow = [each.to(PRECISIONS[CANDIDATE]) for each in wide]
    last = rows - 1, columns - 1
    return ratio(
        lambda: (narrow[0] @ narrow[1])[last].item(),
        lambda: (wide[0] @ wide[1])[last].item(),
        clock,
    )


def asked(name: str) -> Precision:
    """Return the format of this name.

    Raises:
        ValueError: there is none.
    """
    for known in PRECISIONS:
        if known == name:
            return Precision(known, "asked for")
    raise ValueError(f"no precision is called {name!r}; choose {', '.join(PRECISIONS)} or {AUTO}")


def decided(found: float, what: str) -> Precision:
    """Return the format for a ratio of times of `what`."""
    name: PrecisionName = CANDIDATE if found <= GAIN else "float32"
    return Precision(name, f"{what} takes {found:.2f} times as long in {CANDIDATE} on this machine")
