"""Upload slots: a limited number of uploads are received and examined at a time; others wait.

More may be received than examined, as a client may send slowly: what they fill of the disk is
bounded, and none of the body is read before its turn.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response

from app.api.http.spooling import SpoolingRoute
from app.errors import NotReady

PATIENCE = 30.0  # seconds
RETRY_SECONDS = 30
RECEIVED_FOR_EACH = 4  # uploads that are received or wait, for each that is examined


class UploadSlots:
    """Slots for uploads under examination; an upload that waits holds no thread."""

    def __init__(self, most: int, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._free = asyncio.Semaphore(most)
        self._receiving = asyncio.Semaphore(RECEIVED_FOR_EACH * most)

    async def take(self) -> None:
        """Wait for a free slot.

        Raises:
            NotReady: `uploads_busy` when no slot came free within the patience.
        """
        await self._acquire(self._free)

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Wait for the turn to be received; keep it during the block.

        Raises:
            NotReady: `uploads_busy` as for `take`.
        """
        await self._acquire(self._receiving)
        try:
            yield
        finally:
            self._receiving.release()

    async def _acquire(self, slots: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self.patience):
                await slots.acquire()
        except TimeoutError:
            raise NotReady(
                "uploads_busy",
                f"other uploads have been examined for {self.patience:g} s and this one had to "
                "wait; nothing of it is kept: send it again later",
                retry_after=RETRY_SECONDS,
            ) from None

    def give_back(self) -> None:
        """Free the slot for the next upload."""
        self._free.release()


async def upload_slot(request: Request) -> AsyncIterator[None]:
    """Hold a slot for examining an upload until the route's function has returned."""
    slots: UploadSlots = request.app.state.upload_slots
    await slots.take()
    try:
        yield
    finally:
        slots.give_back()


class UploadRoute(SpoolingRoute):
    """A route of uploads: nothing of a body is read before its turn."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that waits for its turn."""
        handle = super().get_route_handler()

        async def in_turn(request: Request) -> Response:
            slots: UploadSlots = request.app.state.upload_slots
            async with slots.receiving():
                return await handle(request)

        return in_turn
