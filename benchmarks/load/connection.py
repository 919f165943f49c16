"""One HTTP connection that is kept alive; a small reader, so that a client costs little."""

import asyncio
import re
from time import monotonic
from typing import Any, NamedTuple

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
END = b"\r\n\r\n"


class Answer(NamedTuple):
    """An answer's parts, and the moment of its first byte."""

    status: int
    head: bytes
    body: bytes
    came: float


class Connection(asyncio.Protocol):
    """Sends one request after another and reads answers that state their length."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: Any = None
        self._answer: asyncio.Future[Answer] | None = None
        self._read, self._came = bytearray(), 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport, self.is_open = transport, True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self._fail(error or ConnectionError("closed before its answer"))

    def data_received(self, data: bytes) -> None:
        if not self._read:
            self._came = monotonic()
        self._read += data
        end = self._read.find(END)
        if end < 0:
            return
        length = LENGTH.search(self._read, 0, end)
        if length is None:
            self._fail(ValueError("an answer without Content-Length"))
            self.close()
            return
        start = end + len(END)
        if len(self._read) >= start + int(length[1]) and self._answer and not self._answer.done():
            head, body = bytes(self._read[:end]), bytes(self._read[start:])
            self._read.clear()
            self._answer.set_result(Answer(int(head[9:12]), head, body, self._came))

    async def ask(self, request: bytes) -> Answer:
        """Send the request; return its answer.

        Raises:
            OSError: the connection ended before the answer.
            ValueError: the answer cannot be read.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self.is_open = False
        self._transport.close()

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def connected(host: str, port: int) -> Connection:
    """Return a new connection."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection
