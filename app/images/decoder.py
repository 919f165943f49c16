"""The decoder of a process: a few workers that all its requests share."""

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np

from app.errors import NotReady
from app.images import image_files
from app.images.budget import ADVICE, Budget, OutOfBudget, TooExpensive
from app.images.image_files import BadImage, Facts
from app.images.orders import (
    LIGHT_SECONDS,
    MAX_TOGETHER,
    epitaph,
    order_of,
    pixels_of,
    together,
)
from app.images.process import Died, Starter, WorkerProcess
from app.images.turns import Turns
from app.images.worker import Answer
from tangent.backbones.geometry import Geometry

WORKERS, HEAVY = 4, 1  # images decoded at a time, and those of them that may be heavy
COSTLY_NICENESS = 5  # of workers for what may be costly; a third of the processor time of others


class Limits(image_files.Limits, Protocol):
    """The part of the settings that bounds decoding."""

    @property
    def max_decode_seconds(self) -> float: ...


class Bounds(NamedTuple):
    """The values of `Limits`."""

    max_image_bytes: int
    max_image_pixels: int
    max_decode_seconds: float


class Request(NamedTuple):
    """The part that all images of one call share."""

    order: dict[str, Any]
    budget: Budget
    interruptions: int  # of the decoder when the call began
    is_apart: bool = False  # not to end a worker that others use


class Decoder:
    """Decodes images for any number of threads, in at most WORKERS processes.

    Workers start on demand, and stay. Heavy images, and those of clients who sent one lately, have
    workers of their own, as they may end them. Each call takes the budget of its request, and
    raises NotReady (`decoding_busy`, as `Turns.turn`, and `service_stopping`).
    """

    def __init__(self, limits: Limits, *, heavy: int = HEAVY) -> None:
        """Start no worker yet; `heavy` of the images decoded at a time may be heavy."""
        self._limits, self._turns = limits, Turns(WORKERS, heavy)
        self._idle: dict[bool, list[WorkerProcess]] = {False: [], True: []}  # by: for costly ones?
        self._busy: set[WorkerProcess] = set()
        self._lock, self._interruptions = Lock(), 0
        self._starter = Starter()
        self._owner = os.getpid()
        atexit.register(self.close)

    def examine(self, files: Sequence[bytes], budget: Budget) -> list[Facts | BadImage]:
        """Return every file's facts, after decoding all of it, or what is wrong with it."""
        return [
            answer
            if isinstance(answer, BadImage)
            else Facts(*(answer[0][name] for name in Facts.__slots__))
            for answer in self._answers({"task": "examine"}, files, budget)
        ]

    def pixels(
        self, files: Sequence[bytes], geometry: Geometry, budget: Budget
    ) -> list[np.ndarray | BadImage]:
        """Return every file's pixels in this geometry, uint8 (height, width, 3), or its fault."""
        return [
            answer if isinstance(answer, BadImage) else pixels_of(answer)
            for answer in self._answers(order_of(geometry), files, budget)
        ]

    def pixels_together(
        self,
        files: Sequence[bytes],
        geometry: Geometry,
        budgets: Sequence[Budget],
        *,
        is_apart: bool,
    ) -> list[np.ndarray | BadImage | None]:
        """Return the pixels of small files of several requests, by one order to a worker.

        Each takes from the budget at its place. None for a file that needs an order of its own, or
        if there is one alone, that is heavy. The last ones may be left out, so that no order takes
        long. The worker is one for costly images with `is_apart`.
        """
        first = min(budgets, key=lambda budget: budget.rank)
        # The order waits as the first of them would; each pays for its own image below.
        budget = Budget(share=first.share.copy())
        request = Request(order_of(geometry), budget, self._interruptions, is_apart)
        try:
            answers = self._light(request, files)
        except Died:  # one of them is heavy or crashes the decoder
            return [None] * len(files)
        found: list[np.ndarray | BadImage | None] = []
        for answer, budget in zip(answers, budgets, strict=False):
            budget.spend(answer[0]["seconds"])
            budget.share.note(is_heavy="heavy" in answer[0])
            if "reason" in answer[0]:
                found.append(BadImage(answer[0]["reason"], answer[0]["pixels"]))
            else:
                found.append(None if "heavy" in answer[0] else pixels_of(answer))
        return found

    def heavy_pixels(
        self, file: bytes, geometry: Geometry, budget: Budget
    ) -> np.ndarray | BadImage:
        """Return the pixels of a file that has proved heavy, or its fault."""
        request = Request(order_of(geometry), budget, self._interruptions)
        answer = self._settled(request, file, ({"heavy": True}, b""))
        return answer if isinstance(answer, BadImage) else pixels_of(answer)

    def thumbnail(self, file: bytes, size: int, budget: Budget) -> tuple[bytes, str]:
        """Return the image within a square of `size` pixels, and its media type.

        Raises:
            BadImage: what is wrong with it.
        """
        [answer] = self._answers({"task": "thumbnail", "size": size}, [file], budget)
        if isinstance(answer, BadImage):
            raise answer
        return answer[1], answer[0]["media_type"]

    def interrupt(self) -> None:
        """Refuse all images that are being decoded now or wait for it, at once."""
        with self._lock:
            self._interruptions += 1
            for worker in self._busy:
                worker.interrupt()

    def close(self) -> None:
        """End all workers, at the end of this process at the latest."""
        if os.getpid() != self._owner:  # a fork of it
            return
        atexit.unregister(self.close)
        self.interrupt()
        with self._lock:
            idle = [*self._idle[False], *self._idle[True]]
            self._idle = {False: [], True: []}
        for worker in idle:
            worker.kill()
        self._starter.close()

    def _answers(
        self, order: dict[str, Any], files: Sequence[bytes], budget: Budget
    ) -> list[Answer | BadImage]:
        """Return an answer, or what is wrong, for every file; small ones go together."""
        found: list[Answer | BadImage] = []
        request = Request(order, budget, self._interruptions)
        alone = 0  # files up to here go one by one
        while len(found) < len(files):
            start = len(found)
            some = together(files, start, 1 if start < alone else MAX_TOGETHER)
            try:
                answers = self._light(request, some)
            except OutOfBudget as refusal:
                return found + [refusal] * (len(files) - start)
            except Died:  # one of them is heavy or crashes the decoder: find out which
                alone = start + len(some)
                continue
            pairs = zip(some, answers, strict=False)
            found += [self._settled(request, file, answer) for file, answer in pairs]
        return found

    def _light(self, request: Request, files: Sequence[bytes]) -> list[Answer]:
        """Return the answers for the first of the files, as of light images.

        Raises:
            Died: while it had several of them.
        """
        order = self._order(request, is_heavy=False)
        with self._worker(request, is_heavy=False) as worker:
            try:
                answers = worker.ask(order, files)
            except Died as died:
                answers = [(epitaph(died, order), b"")]
                if len(files) > 1:
                    request.budget.spend(LIGHT_SECONDS)
                    raise
        request.budget.spend(sum(answer["seconds"] for answer, _ in answers))
        return answers

    def _settled(self, request: Request, file: bytes, answer: Answer) -> Answer | BadImage:
        """Return the answer; that of an image which proved heavy comes from another try."""
        if "heavy" in answer[0]:
            request.budget.share.note(is_heavy=True)
            try:
                answer = self._heavy(request, file)
            except TooExpensive as refusal:
                return refusal
        if "reason" in answer[0]:
            return BadImage(answer[0]["reason"], answer[0]["pixels"])
        return answer

    def _heavy(self, request: Request, file: bytes) -> Answer:
        """Return the answer for a heavy image.

        Raises:
            TooExpensive: it takes too long.
        """
        order = self._order(request, is_heavy=True)
        with self._worker(request, is_heavy=True) as worker:
            try:
                [answer] = worker.ask(order, [file])
            except Died as died:
                answer = epitaph(died, order), b""
        request.budget.spend(answer[0]["seconds"])
        if "heavy" in answer[0]:
            raise TooExpensive(
                f"decoding it takes more than {order['seconds']:.3g} seconds of a processor: "
                f"{ADVICE}"
            )
        return answer

    def _order(self, request: Request, *, is_heavy: bool) -> dict[str, Any]:
        """Return the call's order with the limits of one image."""
        seconds = request.budget.allowance(self._limits.max_decode_seconds)
        return request.order | {"seconds": seconds, "heavy": is_heavy}

    @contextmanager
    def _worker(self, request: Request, *, is_heavy: bool) -> Iterator[WorkerProcess]:
        """Lend a worker when it is the request's turn.

        Raises:
            NotReady: `service_stopping` if the decoder is interrupted before the block ends.
        """
        with self._turns.turn(request.budget, is_heavy=is_heavy):
            is_costly = is_heavy or request.is_apart or request.budget.share.is_costly
            worker = self._idle_worker(is_costly) or self._started(is_costly)
            with self._lock:
                self._busy.add(worker)
            try:
                self._check_uninterrupted(request)
                yield worker
            finally:
                with self._lock:
                    self._busy.remove(worker)
                    if worker.is_alive:
                        self._idle[is_costly].append(worker)
                self._check_uninterrupted(request)

    def _idle_worker(self, is_costly: bool) -> WorkerProcess | None:
        while True:
            with self._lock:
                worker = self._idle[is_costly].pop() if self._idle[is_costly] else None
            if worker is None or not worker.has_ended():
                return worker

    def _started(self, is_costly: bool) -> WorkerProcess:
        niceness = COSTLY_NICENESS if is_costly else 0
        return self._starter.start(self._limits, niceness)

    def _check_uninterrupted(self, request: Request) -> None:
        if self._interruptions != request.interruptions:
            raise NotReady(
                "service_stopping", "the service is stopping: send the request again", retry_after=5
            )


def decoder_of(limits: Limits, *, for_one: bool = False) -> Decoder:
    """Return this process's decoder with these limits; all that ask share it.

    With `for_one`, there is one request at a time, so all of its images may be heavy.
    """
    bounds = Bounds(*(getattr(limits, name) for name in Bounds._fields))
    return _decoder(bounds, WORKERS if for_one else HEAVY)


@cache
def _decoder(bounds: Bounds, heavy: int) -> Decoder:
    return Decoder(bounds, heavy=heavy)


# A forked process has no workers and no threads of its own.
os.register_at_fork(after_in_child=_decoder.cache_clear)
