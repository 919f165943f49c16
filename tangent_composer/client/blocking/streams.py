# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""Answers whose bodies are still on their way."""

from collections.abc import Iterator, Mapping
from typing import Self

import httpx

from tangent_composer.client.request_checks import sendable


class Stream:
    """An answer whose body has begun: its headers, and its body a piece or a line at a time."""

    def __init__(
        self, headers: Mapping[str, str], first: bytes, rest: Iterator[bytes]
    ) -> None:
        self.headers, self._first, self._rest = headers, first, rest

    @classmethod
    def begun(cls, answer: httpx.Response) -> Self:
        """Return the answer with the first piece of its body, or with all of a refusal's."""
        try:
            if not answer.is_success:
                answer.read()
            rest = answer.iter_bytes()
            return cls(answer.headers, next(rest, b""), rest)
        except BaseException:
            answer.close()
            raise

    def pieces(self) -> Iterator[bytes]:
        """Yield the body, once."""
        yield self._first
        while True:
            with sendable():
                piece = next(self._rest, b"")
            if not piece:
                return
            yield piece

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body without their ends, once."""
        left = b""
        for piece in self.pieces():
            *whole, left = (left + piece).split(b"\n")
            for line in whole:
                yield line
        if left:
            yield left
