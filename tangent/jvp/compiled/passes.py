"""The faster passes of one space: which there are, which are wanted, and how they are made.

A pass is a whole answer, or one of its two parts: what no direction changes, and the rest. Images
that have the first part in common go through the second along directions of their own.

`run` never makes one: it answers by a pass that is there, or not at all, and notes what was asked
for. `make_next` makes what was asked for most recently, in a thread that need not be the answering
one. A pass is used from then on if it agreed with the engine's on random images and directions.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tangent.jvp.compiled.buckets import bucket_of
from tangent.jvp.compiled.recorder import MIN_FREE, Outputs, Recorder
from tangent.jvp.compiled.recording import ANSWER, PUSH, ROWS, Pass, Recording, Source
from tangent.jvp.compiled.tracing import Compiler, compiled, inductor
from tangent.jvp.engine import Prepared

MAX_PASSES = 36  # of a space at a time: three kinds, in the twelve sizes of batches up to 64
MAX_WANTED = 64
MIN_ASKED = 2  # times, before a pass is made
RECORDED, COMPILED = "recorded", "compiled"  # the steps, in their order

Turn = AbstractContextManager[Any]
ALONE = nullcontext()  # where no other thread runs the space


class Shape(NamedTuple):
    """The numbers of images and of directions that a pass is made for, and what it computes."""

    images: int
    directions: int
    part: str = ANSWER

    @property
    def words(self) -> str:
        """The batches that have this shape, with their verb."""
        of = f"batches of {self.images}"
        if self.part == ROWS:
            return f"the first part of {of} was"
        rest = "the rest of " if self.part == PUSH else ""
        verb = "was" if rest else "were"
        return f"{rest}{of} along {self.directions} directions {verb}"


class Disagreement(Exception):
    """Raised where a made pass does not give the engine's results."""


@dataclass
class _Made:
    """A pass that is there, by the last step that was taken for it."""

    recording: Recording
    step: str


class Passes:
    """The faster passes of one space; any thread may ask, one thread at a time makes."""

    def __init__(
        self,
        open_source: Callable[[], Source],
        recorder: Recorder,
        steps: Sequence[str] = (RECORDED, COMPILED),
        compiler: Compiler = inductor,
    ) -> None:
        """`open_source` is called once, within a turn, when the first pass is made.

        `steps`: what a pass goes through; a processor gains nothing by a pass that is recorded.
        """
        self._open_source, self._recorder = open_source, recorder
        self._steps, self._compiler = tuple(steps), compiler
        self._source: Source | None = None
        self._lock = Lock()
        self._made: OrderedDict[Shape, _Made] = OrderedDict()  # the last used one comes last
        self._asked: OrderedDict[Shape, int] = OrderedDict()  # the last asked one comes last
        self._faults: dict[tuple[Shape, str], str] = {}
        self._is_short = False  # of memory, when a step was to be taken last

    def run(
        self, given: Tensor, prepared: Sequence[Prepared], part: str = ANSWER
    ) -> Outputs | None:
        """Return what `Source.passed` does by a made pass; None if none is there.

        The results are those of the engine within its tolerance, and no others' memory.
        """
        size = bucket_of(len(given))
        if size is None:
            return None
        shape = Shape(size, len(prepared), part)
        with self._lock:
            self._note(shape)
            made = self._made.get(shape)
            if made is None:
                return None
            self._made.move_to_end(shape)
            return made.recording.run(given, prepared)

    def make_next(self, turn: Turn = ALONE) -> bool:
        """Take one step for the pass that was asked for last; return whether one was taken.

        `turn` is entered while the device is to do nothing else; a compilation runs outside of it.
        A step that fails leaves the pass as it is, and `faults` says why.
        """
        chosen = self._next()
        self._is_short = chosen is not None and self._recorder.free_share() < MIN_FREE
        if chosen is None or self._is_short:
            return False
        shape, step = chosen
        try:
            recording = self._recorded(shape, step, turn)
        except Exception as error:  # of a compiler or a driver: the engine goes on answering
            self._note_fault(shape, step, error)
        else:
            self._keep(shape, _Made(recording, step))
        return True

    @property
    def faults(self) -> list[str]:
        """The steps that failed, each with its reason, and a lack of memory for further ones."""
        short = f"no further pass is made: less than {MIN_FREE:.0%} of the memory is free"
        with self._lock:
            return [
                f"{shape.words} not {step}: {why}" for (shape, step), why in self._faults.items()
            ] + [short] * self._is_short

    @property
    def made(self) -> dict[Shape, str]:
        """The passes that there are, each with its last step."""
        with self._lock:
            return {shape: made.step for shape, made in self._made.items()}

    def forget(self) -> None:
        """Overwrite the images and directions that passes keep of their last answers."""
        with self._lock:
            for made in self._made.values():
                made.recording.forget()

    def clear(self) -> None:
        """Drop all passes, as memory is short; they are made again when they are asked for."""
        with self._lock:
            self._made.clear()
            self._asked.clear()

    def _note(self, shape: Shape) -> None:
        self._asked[shape] = self._asked.pop(shape, 0) + 1
        if len(self._asked) > MAX_WANTED:
            self._asked.popitem(last=False)

    def _next(self) -> tuple[Shape, str] | None:
        """Return the next step of the pass that was asked for last and is not ready."""
        with self._lock:
            for step in self._steps:
                for shape, times in reversed(self._asked.items()):
                    if times >= MIN_ASKED and self._lacks(shape, step):
                        return shape, step
        return None

    def _lacks(self, shape: Shape, step: str) -> bool:
        made = self._made.get(shape)
        taken = -1 if made is None else self._steps.index(made.step)
        return self._steps.index(step) > taken and (shape, step) not in self._faults

    def _recorded(self, shape: Shape, step: str, turn: Turn) -> Recording:
        """Return a new recording that agrees with the engine.

        Raises:
            Disagreement: it does not.
            Exception: of many kinds, if the pass cannot be compiled or recorded.
        """
        with turn:
            source = self._source = self._source or self._open_source()
            memory = source.given(shape.images, shape.part)
            directions = source.directions(shape.directions)
            random = memory.clone(), directions.prepared([t.clone() for t in directions.tensors])

        def plain(given: Tensor, tensors: Sequence[Tensor]) -> Outputs:
            return source.passed(given, directions.prepared(tensors), shape.part)

        run: Pass = plain
        if step == COMPILED:
            run = compiled(plain, memory, directions.tensors, self._compiler)
        with turn, torch.no_grad():
            recording = Recording(memory, directions, run, self._recorder)
            with _zeroed(recording):
                _check(recording.run(*random), source.passed(*random, shape.part), source)
        return recording

    def _keep(self, shape: Shape, made: _Made) -> None:
        with self._lock:
            self._made[shape] = made
            self._made.move_to_end(shape)
            while len(self._made) > MAX_PASSES:
                oldest, _ = self._made.popitem(last=False)
                self._asked.pop(oldest, None)

    def _note_fault(self, shape: Shape, step: str, error: Exception) -> None:
        first = str(error).strip().split("\n", 1)[0]
        with self._lock:
            self._faults[shape, step] = f"{type(error).__name__}: {first}"


@contextmanager
def _zeroed(recording: Recording) -> Iterator[None]:
    """Overwrite what the recording holds after the block."""
    try:
        yield
    finally:
        recording.forget()


def _check(found: Outputs, expected: Outputs, source: Source) -> None:
    """Check that every output agrees to the source's tolerance.

    Raises:
        Disagreement: an output does not.
    """
    pairs = zip(found, expected, source.tolerances(expected), strict=True)
    for place, (own, engine, tolerance) in enumerate(pairs):
        gap = ((own - engine).norm() / engine.norm().clamp_min(1e-30)).item()
        if not gap <= tolerance:
            raise Disagreement(
                f"output {place} differs from the engine's by {gap:.1e} of its norm, which may be "
                f"{tolerance:.0e}"
            )
