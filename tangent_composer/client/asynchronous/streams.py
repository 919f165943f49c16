"""Answers whose bodies are still on their way."""

from collections.abc import AsyncIterator, Mapping
from typing import Self

import httpx

from tangent_composer.client.request_checks import sendable


class AsyncStream:
    """An answer whose body has begun: its headers, and its body a piece or a line at a time."""

    def __init__(
        self, headers: Mapping[str, str], first: bytes, rest: AsyncIterator[bytes]
    ) -> None:
        self.headers, self._first, self._rest = headers, first, rest

    @classmethod
    async def begun(cls, answer: httpx.Response) -> Self:
        """Return the answer with the first piece of its body, or with all of a refusal's."""
        try:
            if not answer.is_success:
                await answer.aread()
            rest = answer.aiter_bytes()
            return cls(answer.headers, await anext(rest, b""), rest)
        except BaseException:
            await answer.aclose()
            raise

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body, once."""
        yield self._first
        while True:
            with sendable():
                piece = await anext(self._rest, b"")
            if not piece:
                return
            yield piece

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines of the body without their ends, once."""
        left = b""
        async for piece in self.pieces():
            *whole, left = (left + piece).split(b"\n")
            for line in whole:
                yield line
        if left:
            yield left
