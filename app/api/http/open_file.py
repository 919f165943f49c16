"""Answers that are open files: whole or by Range, as long as the file stays stored.

A deletion by this process ends them with their connection, see app.server.transfers. After a
deletion by another process, which knows nothing of this one's connections, they end by themselves.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from app.api.http import problems
from app.api.http.byte_ranges import Range, RangeUnknown, satisfiable
from app.errors import OutOfRange
from app.inference.deletion_gate import Ticket

LOOK_SECONDS = 0.5  # between two looks for the file


class FileDeleted(Exception):
    """Ends a transfer in the middle of an answer, so that the server closes the connection."""


class OpenFileResponse(FileResponse):
    """A file that is open already; it is closed when the answer has ended."""

    def __init__(
        self, file: BinaryIO, ticket: Ticket, is_stored: Callable[[], bool], **given: Any
    ) -> None:
        super().__init__(file.name, stat_result=os.fstat(file.fileno()), **given)
        self.file, self.ticket, self.is_stored = file, ticket, is_stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file until it is sent, deleted or no longer wanted."""
        deleted = False

        async def unless_deleted(message: Message) -> None:
            if self.ticket.is_cut and self.ticket.client is None:
                raise FileDeleted
            await send(message)

        try:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    nonlocal deleted
                    while await run_in_threadpool(self.is_stored):
                        await anyio.sleep(LOOK_SECONDS)
                    deleted = True
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                await self._send(scope, receive, unless_deleted)
                tasks.cancel_scope.cancel()
        finally:
            self.file.close()
        if deleted:
            await self._end(receive)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or the parts that Range asks for; a Range that is none is passed over."""
        size = os.fstat(self.file.fileno()).st_size
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"range"]
        if given and self._wants_part(scope):
            try:
                if not satisfiable(", ".join(given), size):
                    await self._refuse(scope, receive, send, size)
                    return
            except RangeUnknown:
                given = []
        if not given:
            scope = {**scope, "headers": [each for each in scope["headers"] if each[0] != b"range"]}
        await super().__call__(scope, receive, send)

    def _wants_part(self, scope: Scope) -> bool:
        """Return whether If-Range, if it was sent, names this version of the file."""
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-range"]
        return all(self._should_use_range(each.strip()) for each in given)

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[Range]:
        return satisfiable(http_range, file_size)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, size: int) -> None:
        problem = OutOfRange(
            "range_not_satisfiable", f"the file has {size} bytes, and Range asks for others"
        )
        answer = problems.answer(scope, problem, {"Content-Range": f"bytes */{size}"})
        await answer(scope, receive, send)

    async def _end(self, receive: Receive) -> None:
        if self.ticket.client is None:
            raise FileDeleted
        self.ticket.client.abort()
        while (await receive())["type"] != "http.disconnect":
            continue

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[anyio.AsyncFile[bytes]]:
        yield anyio.wrap_file(self.file)
