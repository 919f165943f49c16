"""Upload slots: a limited number of uploads are examined at the same time; others wait a while."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request

from app.errors import NotReady

PATIENCE = 30.0  # seconds
RETRY_SECONDS = 30


class UploadSlots:
    """Slots for uploads under examination; an upload that waits holds no thread."""

    def __init__(self, most: int, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._free = asyncio.Semaphore(most)

    async def take(self) -> None:
        """Wait for a free slot.

        Raises:
            NotReady: `uploads_busy` when no slot came free within the patience.
        """
        try:
            async with asyncio.timeout(self.patience):
                await self._free.acquire()
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
