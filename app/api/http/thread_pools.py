"""The threads of requests, in pools: none of one kind waits behind those of another.

Predictions are many and long. They wait for their turn in a queue with a bound, and take a thread
only for what may take time: decoding and the like in one pool, looks at the database in another, so
that none of these waits behind somebody's costly images. Deletions and other changes of data,
health checks and metrics have threads of their own. All else takes those of the framework.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Response

from app.errors import TooManyRequests
from app.images.shares import Share
from app.inference.deletion_gate import Ticket
from app.settings import Settings

HEALTH_THREADS = 4
CHANGE_THREADS = 8
PREDICTION_THREADS = 40
READING_THREADS = 8
RETRY_SECONDS = 1
CLIENT_HAS_LEFT = 499  # the status in log and metrics of an answer that nobody waits for

Result = TypeVar("Result")


class ThreadPools:
    """The pools of one application."""

    def __init__(self, settings: Settings) -> None:
        self.health = anyio.CapacityLimiter(HEALTH_THREADS)
        self.changes = anyio.CapacityLimiter(CHANGE_THREADS)
        self.predictions = PredictionTurns(
            settings.max_concurrent_predictions, settings.max_waiting_predictions
        )

    async def change(self, call: Callable[[], Result]) -> Result:
        """Return the result of a change of data."""
        return await anyio.to_thread.run_sync(call, limiter=self.changes)


def _ignore(ended: "asyncio.Task[Any]") -> None:
    """Take the error of a call whose client has left, which nobody else does."""
    if not ended.cancelled():
        ended.exception()


class PredictionTurns:
    """The predictions that are being made, and those that wait for their turn; of one loop."""

    def __init__(self, most: int, most_waiting: int) -> None:
        self._free, self._most_waiting = most, most_waiting
        self._queue: list[_Waiting] = []
        self._numbers = count()
        self._threads = anyio.CapacityLimiter(min(most, PREDICTION_THREADS))
        self._readers = anyio.CapacityLimiter(READING_THREADS)

    @property
    def waiting(self) -> int:
        """The number of predictions without a turn."""
        return len(self._queue)

    async def call(self, function: Callable[[], Result]) -> Result:
        """Return the function's result, from a thread of predictions.

        The threads may all be busy for long, with images that are costly to decode. If this is
        cancelled, the thread stays taken until the function ends: what clients have left behind
        never takes more threads than there are. A function that has not begun does not.
        """
        return await self._result(function, self._threads)

    async def read(self, function: Callable[[], Result]) -> Result:
        """Return the function's result as `call` does; it must not decode, nor wait for a batch."""
        return await self._result(function, self._readers)

    async def _result(
        self, function: Callable[[], Result], limiter: anyio.CapacityLimiter
    ) -> Result:
        waiting: list[Callable[[], Result]] = [function]
        running = asyncio.create_task(
            anyio.to_thread.run_sync(lambda: waiting.pop()(), limiter=limiter)
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            waiting.clear()  # with the images that it holds
            running.add_done_callback(_ignore)
            raise

    async def run(
        self, ticket: Ticket, share: Share, make: Callable[[float], Awaitable[Response]]
    ) -> Response:
        """Return the answer that `make` makes in its turn, unless the client leaves before.

        `make` is given the seconds for which the turn was waited for.

        The client whose images took least lately comes next; of too many that wait, the one whose
        images took most is refused.

        Raises:
            TooManyRequests: `queue_full`.
        """
        task = asyncio.current_task()
        assert task is not None

        def leave() -> None:
            ticket.has_left = True
            task.cancel()

        with ticket.when_client_leaves(leave):
            try:
                waited = await self._take_turn(share)
                try:
                    return await make(waited)
                finally:
                    self._give_turn()
            except asyncio.CancelledError:
                if not ticket.has_left:
                    raise
                task.uncancel()
                return Response(status_code=CLIENT_HAS_LEFT)

    async def _take_turn(self, share: Share) -> float:
        """Take a turn; return the seconds until there was one."""
        if self._free:
            self._free -= 1
            return 0.0
        began = monotonic()
        waiting = _Waiting(share, next(self._numbers), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self.waiting > self._most_waiting:
            last = max(self._queue, key=_Waiting.rank)
            self._queue.remove(last)
            if not last.turn.done():  # else its client has left
                last.turn.set_exception(self._full())
        try:
            await waiting.turn
            return monotonic() - began
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
            elif not waiting.turn.cancelled() and waiting.turn.exception() is None:
                self._give_turn()  # which it has got just before it left
            raise

    def _give_turn(self) -> None:
        """Let the prediction that comes next have a turn that has ended."""
        self._queue = [each for each in self._queue if not each.turn.done()]  # some have left
        if not self._queue:
            self._free += 1
            return
        first = min(self._queue, key=_Waiting.rank)
        self._queue.remove(first)
        first.turn.set_result(None)

    def _full(self) -> TooManyRequests:
        return TooManyRequests(
            "queue_full",
            f"{self.waiting} predictions wait for their turn, the most are {self._most_waiting}: "
            "send the request again a little later",
            retry_after=RETRY_SECONDS,
        )


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A prediction without a turn."""

    share: Share
    number: int
    turn: "asyncio.Future[None]"

    def rank(self) -> tuple[float, int]:
        return self.share.level, self.number
