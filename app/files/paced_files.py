"""Files that are read at a bounded rate and in small pieces, so that nobody else is held up."""

import io
import math
import os
from collections.abc import Callable
from time import monotonic
from typing import BinaryIO

PIECE = 2**18  # bytes


class Pace:
    """The rate at which the files of one scrub are read together; counts what was read.

    `rest` is called after every piece with the seconds to wait, and ends the reading by raising.
    """

    def __init__(self, rate: float = math.inf, rest: Callable[[float], None] | None = None) -> None:
        """`rate` is in bytes per second."""
        self.bytes = 0
        self.piece = int(max(1, min(PIECE, rate)))  # no rest is longer than a second
        self._rate, self._rest = rate, rest
        self._due = 0.0

    def spend(self, number: int) -> None:
        """Count bytes that were read, and rest until the next ones may be."""
        self.bytes += number
        time = monotonic()
        self._due = max(self._due, time) + number / self._rate
        if self._rest is not None:
            self._rest(self._due - time)


class PacedFile(io.RawIOBase):
    """A file opened for reading that keeps to a pace; closing it closes the file."""

    def __init__(self, file: BinaryIO, pace: Pace) -> None:
        self._file, self._pace = file, pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Read at most a piece into the buffer; return the number of bytes."""
        view = memoryview(buffer)[: self._pace.piece]
        number = os.readv(self._file.fileno(), [view])
        self._pace.spend(number)
        return number

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at this place; fewer if the file ends before."""
        pieces = []
        while length > 0:
            data = os.pread(self._file.fileno(), min(length, self._pace.piece), offset)
            self._pace.spend(len(data))
            if not data:
                break
            pieces.append(data)
            offset, length = offset + len(data), length - len(data)
        return b"".join(pieces)

    def close(self) -> None:
        self._file.close()
        super().close()
