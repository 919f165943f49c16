"""Request bodies that were compressed as a whole (RFC 9110, section 8.4), unpacked as they arrive.

What is unpacked counts towards the limits of a body, a small piece at a time: a few compressed
bytes may stand for very many. So do the compressed bytes themselves, and members are counted: very
many may stand for nothing.
"""

import asyncio
import zlib
from collections.abc import Iterator

from starlette.types import Message, Receive, Scope

from app.errors import Malformed, Unsupported

PIECE = 2**18  # bytes unpacked at a time
WINDOW = 2**14  # compressed bytes between two turns of others; what follows a member is copied
MAX_MEMBERS = 10_000  # of gzip; bgzip writes one for each 64 KiB
READ = ("gzip", "deflate", "identity")
OF_THE_BODY = (b"content-encoding", b"content-length")  # as it was before it was unpacked


class Decompressor:
    """Unpacks gzip, of one or several members, and deflate, with or without zlib's frame."""

    def __init__(self, encoding: str) -> None:
        self._encoding, self._is_gzip = encoding, encoding != "deflate"
        self._stream, self._is_new = zlib.decompressobj(31 if self._is_gzip else 47), True
        self._members = 1

    def pieces(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        """Yield what more of the body stands for, in pieces of PIECE bytes at most.

        Raises:
            Malformed: `malformed_encoding`: it is not what its header says, or was cut off.
        """
        while data:
            if self._stream.eof:  # another member, or bytes that belong to nothing
                if not self._is_gzip:
                    raise self._fault("goes on behind its end")
                self._begin_member()
            piece = self._unpacked(data)
            data = self._stream.unconsumed_tail or self._stream.unused_data
            if piece:
                yield piece
        while not self._stream.eof and (piece := self._unpacked(b"")):
            yield piece
        if last and not self._stream.eof and not self._is_new:
            raise self._fault("ends too early: it was cut off")

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise self._fault(f"has more than {MAX_MEMBERS} members: send it as one")
        self._stream, self._is_new = zlib.decompressobj(31), True

    def _unpacked(self, data: bytes) -> bytes:
        was_new, self._is_new = self._is_new, self._is_new and not data
        try:
            return self._stream.decompress(data, PIECE)
        except zlib.error as error:
            if not was_new or self._is_gzip:
                raise self._fault(f"cannot be unpacked ({error})") from None
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)  # as some clients send deflate
        try:
            return self._stream.decompress(data, PIECE)
        except zlib.error as error:
            raise self._fault(f"cannot be unpacked ({error})") from None

    def _fault(self, what: str) -> Malformed:
        return Malformed(
            "malformed_encoding",
            f"the body came with Content-Encoding {self._encoding}, and {what}; leave the header "
            "out if the body is not compressed",
        )


class Unpacked:
    """A compressed body as the messages of a plain one."""

    def __init__(self, receive: Receive, packed: Decompressor) -> None:
        self._receive, self._packed = receive, packed
        self._pieces: Iterator[bytes] = iter(())  # of the message that came last
        self._is_last = False  # that message, and its end is still to be told

    async def receive(self) -> Message:
        """Return the next piece.

        Raises:
            Malformed: `malformed_encoding`.
        """
        while True:
            for piece in self._pieces:
                await asyncio.sleep(0)  # others have their turn
                if piece:
                    return {"type": "http.request", "body": piece, "more_body": True}
            if self._is_last:
                self._is_last = False
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._is_last = not message.get("more_body", False)
            self._pieces = self._of(message.get("body", b""))

    def _of(self, data: bytes) -> Iterator[bytes]:
        """Yield what the message stands for, and nothing after each window."""
        for start in range(0, len(data) or 1, WINDOW):
            is_end = self._is_last and start + WINDOW >= len(data)
            yield from self._packed.pieces(data[start : start + WINDOW], last=is_end)
            yield b""


def encoding_of(scope: Scope) -> str:
    """Return the request's Content-Encoding in lower case, empty for none."""
    names = (value for name, value in scope["headers"] if name == b"content-encoding")
    encoding = b", ".join(names).decode("latin-1").strip().lower()
    return "" if encoding == "identity" else encoding


def decompressor(scope: Scope) -> Decompressor | None:
    """Return what unpacks the request's body, or None; the headers are then those of plain bytes.

    Raises:
        Unsupported: `unsupported_content_encoding`.
    """
    encoding = encoding_of(scope)
    if not encoding:
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Unsupported(
            "unsupported_content_encoding",
            f"the body came with Content-Encoding {encoding[:80]}: send it with gzip or deflate, "
            "or without that header and uncompressed (an archive may be a tar.gz or tar.zst)",
        )
    scope["headers"] = [each for each in scope["headers"] if each[0] not in OF_THE_BODY]
    return Decompressor(encoding)
