"""The service's event loop writes at once: a permit covers all bytes that the system can take."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvicorn

from app.cli.api_server import LOOP
from app.server.counting_transport import Counting

ANSWERS = (b"one", b"two" * 1000, b"three")


def taken(line: socket.socket) -> bytes:
    """Return what the system holds for the other side."""
    try:
        return line.recv(2**20)
    except BlockingIOError:
        return b""


class Answering(asyncio.Protocol):
    """Answers what it receives, under permits, and notes what the client had when each ended."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self.had: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = Counting(cast(asyncio.Transport, transport))
        self.is_done = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        @contextmanager
        def permit() -> Iterator[bool]:
            yield True
            self.had.append(taken(self._client))

        for answer in ANSWERS:
            self._transport.send_under(permit)
            self._transport.write(answer)
            self._transport.send_under(None)
        self.is_done.set()


async def answered() -> list[bytes]:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        transport, answering = await asyncio.get_running_loop().create_connection(
            lambda: Answering(theirs), sock=ours
        )
        theirs.send(b"?")
        async with asyncio.timeout(30):
            await answering.is_done.wait()
        transport.close()
        return answering.had


def test_an_answer_is_with_the_system_before_its_permit_ends() -> None:
    factory = uvicorn.Config("app", loop=LOOP).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        assert type(runner.get_loop()).__module__.startswith("uvloop")
        assert runner.run(answered()) == list(ANSWERS)
