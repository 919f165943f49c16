"""Upload slots: a limited number of uploads are received and examined at a time; others wait.

More may be received than examined, as a client may send slowly: what they fill of the disk is
bounded, and none of the body is read before its turn.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from typing import Annotated, Any, BinaryIO, cast

from fastapi import Depends, Request, Response

from app.api.http.spooling import SpoolingRoute
from app.errors import ClientLeft, NotReady
from app.server.transfers import CLIENT

PATIENCE = 30.0  # seconds
RETRY_SECONDS = 30
RECEIVED_FOR_EACH = 4  # uploads that are received or wait, for each that is examined


class UploadSlots:
    """Slots for uploads under examination; an upload that waits holds no thread."""

    def __init__(self, most: int, patience: float = PATIENCE) -> None:
        self.patience, self.is_ending = patience, False
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

    def end(self) -> None:
        """Let every upload that is being examined end soon, as the service stops."""
        self.is_ending = True


class Examination:
    """An upload under examination, which ends once nobody waits for it."""

    def __init__(self, slots: UploadSlots) -> None:
        self._slots, self._has_left = slots, False

    def leave(self) -> None:
        """Note that the client has left."""
        self._has_left = True

    def file(self, file: BinaryIO) -> BinaryIO:
        """Return the upload's file, each reading of which raises as `check`."""
        return cast(BinaryIO, WatchedFile(file, self.check))

    def check(self) -> None:
        """Do nothing while somebody waits.

        Raises:
            ClientLeft: `client_left`.
            NotReady: `service_stopping`.
        """
        if self._has_left:
            raise ClientLeft("client_left", "the client has left before its archive was read")
        if self._slots.is_ending:
            raise NotReady(
                "service_stopping", "the service is stopping: send the request again", retry_after=5
            )


class WatchedFile(io.BufferedIOBase):
    """A file that calls `check` before it is read; closing this leaves the file open."""

    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        self._file, self._check = file, check

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        return self._file.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)


@asynccontextmanager
async def examining(request: Request) -> AsyncIterator[Examination]:
    """Hold a slot for examining the request's upload during the block.

    Raises:
        NotReady: as `UploadSlots.take`.
    """
    slots: UploadSlots = request.app.state.upload_slots
    client = request.scope.get("extensions", {}).get(CLIENT)
    await slots.take()
    try:
        made = Examination(slots)
        with nullcontext() if client is None else client.watched(made.leave):
            yield made
    finally:
        slots.give_back()


async def examination(request: Request) -> AsyncIterator[Examination]:
    """Hold a slot until the route's function has returned; raises as `examining`."""
    async with examining(request) as made:
        yield made


ExaminationDep = Annotated[Examination, Depends(examination, scope="function")]


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
