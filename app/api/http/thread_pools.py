"""The threads of requests, in pools: none of one kind waits behind those of another.

Predictions are many and long, and wait for their turn in a queue with a bound. Deletions and other
changes of data, health checks and metrics have threads of their own. All else takes those of the
framework.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request, Response

from app.errors import TooManyRequests
from app.inference.deletion_gate import Ticket
from app.inference.models import Left
from app.settings import Settings

HEALTH_THREADS = 4
CHANGE_THREADS = 8
RETRY_SECONDS = 1
CLIENT_HAS_LEFT = 499  # the status in log and metrics of an answer that nobody waits for

Result = TypeVar("Result")


class ThreadPools:
    """The pools of one application."""

    def __init__(self, settings: Settings) -> None:
        self.health = anyio.CapacityLimiter(HEALTH_THREADS)
        self.changes = anyio.CapacityLimiter(CHANGE_THREADS)
        self.predictions = PredictionThreads(
            settings.max_concurrent_predictions, settings.max_waiting_predictions
        )

    async def change(self, call: Callable[[], Result]) -> Result:
        """Return the result of a change of data."""
        return await anyio.to_thread.run_sync(call, limiter=self.changes)


class PredictionThreads:
    """The threads of predictions, and the queue of those that wait for one."""

    def __init__(self, threads: int, most_waiting: int) -> None:
        self._turns, self._threads = anyio.CapacityLimiter(threads), anyio.CapacityLimiter(threads)
        self._most_waiting = most_waiting

    async def run(self, request: Request, ticket: Ticket, call: Callable[[], Response]) -> Response:
        """Return the call's answer; do not begin it if the client leaves before its turn.

        Raises:
            TooManyRequests: `queue_full`.
        """
        self._check_room()
        if not await self._has_turn(request):
            return Response(status_code=CLIENT_HAS_LEFT)
        leaving = asyncio.create_task(_note_leaving(request, ticket))
        try:
            return await anyio.to_thread.run_sync(call, limiter=self._threads)
        except Left:
            return Response(status_code=CLIENT_HAS_LEFT)
        finally:
            leaving.cancel()
            self._turns.release_on_behalf_of(request)

    @property
    def waiting(self) -> int:
        """The predictions that wait for a thread."""
        return self._turns.statistics().tasks_waiting

    def _check_room(self) -> None:
        if self.waiting >= self._most_waiting:
            raise TooManyRequests(
                "queue_full",
                f"{self.waiting} predictions wait for their turn, the most are "
                f"{self._most_waiting}: send the request again a little later",
                retry_after=RETRY_SECONDS,
            )

    async def _has_turn(self, request: Request) -> bool:
        """Wait for a turn; return False if the client has left first."""
        has_turn = False
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                await _left(request)
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            await self._turns.acquire_on_behalf_of(request)
            has_turn = True
            tasks.cancel_scope.cancel()
        return has_turn


async def _note_leaving(request: Request, ticket: Ticket) -> None:
    await _left(request)
    ticket.has_left = True


async def _left(request: Request) -> None:
    """Wait until the client has closed its connection; the request's body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        continue
