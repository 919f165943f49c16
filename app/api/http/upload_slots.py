"""Turns: only so many uploads are examined at the same time, the next ones wait for a while."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request

from app.errors import NotReady

PATIENCE = 30.0  # seconds
RETRY_SECONDS = 30


class Turns:
    """So many at the same time; those that wait hold no thread, which other requests may need."""

    def __init__(self, most: int, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._free = asyncio.Semaphore(most)

    async def take(self) -> None:
        """Wait for a turn.

        Raises:
            NotReady: `uploads_busy` when none came free within the patience.
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
        """Let the next one have the turn."""
        self._free.release()


async def turn(request: Request) -> AsyncIterator[None]:
    """A turn at examining an upload, given back when the route's function has returned."""
    turns: Turns = request.app.state.turns
    await turns.take()
    try:
        yield
    finally:
        turns.give_back()
