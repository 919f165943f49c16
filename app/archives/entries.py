"""Shared by the readers of zip and tar: entries, the meter of unpacked bytes, their problems."""

import gzip
import zlib
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, get_args

import zstandard

from app.errors import Malformed, Problem, TooLarge
from app.images import decoder

MAX_RATIO = 200  # unpacked bytes per byte of the archive …
MIN_BYTES_FOR_RATIO = 64 * 2**20  # … checked above this many unpacked bytes
PIECE = 2**20  # bytes read at once
MAX_IDLE_BYTES = 4 * 2**20  # of the archive beyond twice what they unpack to
CodePage = Literal[
    "cp437",
    "cp850",
    "cp852",
    "cp866",
    "cp932",
    "cp949",
    "cp1250",
    "cp1251",
    "cp1252",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "big5",
    "euc-jp",
    "euc-kr",
    "gb18030",
    "koi8-r",
]
CODE_PAGES: tuple[str, ...] = get_args(CodePage)
MAX_ZSTD_WINDOW = 2**26  # bytes of memory; enough for every level of zstd but --ultra -22


class Limits(decoder.Limits, Protocol):
    """The part of the settings that bounds one archive and its images."""

    @property
    def max_upload_bytes(self) -> int: ...

    @property
    def max_archive_entries(self) -> int: ...

    @property
    def max_dataset_images(self) -> int: ...

    @property
    def max_dataset_bytes(self) -> int: ...

    @property
    def max_labels(self) -> int: ...


class Readable(Protocol):
    """A file that can be read once, from front to back."""

    def read(self, size: int = -1, /) -> bytes: ...


class Entry(NamedTuple):
    """One entry of an archive; `read` works until the iterator moves to the next entry."""

    name: str
    kind: str  # "file", "folder", or the name of a kind that is refused
    size: int  # unpacked, as announced
    read: Callable[[], bytes]
    fault: str | None = None  # why this entry cannot be used, although the others can
    target: str | None = None  # of a hard link: the name of the entry that holds the data


class Meter:
    """Counts the unpacked bytes of an archive and raises at the limit."""

    def __init__(self, limits: Limits, packed: int) -> None:
        self._max_bytes, self._packed, self._unpacked = limits.max_dataset_bytes, packed, 0
        self._taken = 0

    def take(self, count: int) -> None:
        """Count bytes of the archive that are unpacked.

        Raises:
            Malformed: `archive_damaged`: too many unpack to nothing, as empty members of gzip do,
                and entries of a zip that share one run of empty blocks.
        """
        self._taken += count
        if self._taken > MAX_IDLE_BYTES + 2 * self._unpacked:
            raise damaged(
                f"{self._taken} bytes of its compressed data unpack to only {self._unpacked}"
            )

    def add(self, count: int) -> None:
        """Count unpacked bytes.

        Raises:
            TooLarge: `archive_too_large` or `archive_bomb`.
        """
        self._unpacked += count
        if self._unpacked > self._max_bytes:
            raise TooLarge(
                "archive_too_large",
                f"the archive unpacks to more than the {self._max_bytes} bytes allowed: "
                "split it into several datasets",
            )
        if self._unpacked > max(MIN_BYTES_FOR_RATIO, MAX_RATIO * self._packed):
            raise TooLarge(
                "archive_bomb",
                f"the archive unpacks to more than {MAX_RATIO} times its {self._packed} bytes: "
                "use image files that are compressed already, such as PNG or JPEG",
            )


class Packed:
    """A compressed file that counts the bytes read."""

    def __init__(self, file: Readable, meter: Meter) -> None:
        self._file, self._meter = file, meter

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes more; raises as `Meter.take`."""
        data = self._file.read(size)
        self._meter.take(len(data))
        return data


class Unpacked:
    """A forward-only stream that counts the bytes read and reports damage as a problem."""

    def __init__(self, stream: Readable, meter: Meter) -> None:
        self._stream, self._meter = stream, meter

    def read(self, size: int = -1, /) -> bytes:
        """Return the next `size` bytes, fewer only at the end.

        Raises:
            Malformed: `archive_truncated` or `archive_damaged`.
            TooLarge: as the meter, and `zstd_window_too_large`.
        """
        pieces = []  # so that the meter hears of what is unpacked as soon as of what is taken
        while size and (piece := self._piece(min(size, PIECE))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except EOFError:
            raise truncated("within its compressed data") from None
        except zstandard.ZstdError as error:
            raise _zstd_problem(error) from error
        except gzip.BadGzipFile as error:
            if "Not a gzipped file" in str(error):  # at the end of a gzip, not at its beginning
                raise damaged("bytes that are no gzip follow its compressed data") from error
            raise damaged(f"its compressed data cannot be unpacked ({error})") from error
        except (OSError, zlib.error) as error:
            raise damaged(f"its compressed data cannot be unpacked ({error})") from error
        self._meter.add(len(data))
        return data


def truncated(where: str) -> Malformed:
    """Return the problem of an archive that ends too early."""
    return Malformed("archive_truncated", f"the archive ends {where}: upload the complete file")


def damaged(what: str) -> Malformed:
    """Return the problem of an archive that contradicts itself."""
    return Malformed("archive_damaged", f"the archive is damaged: {what}; pack it again")


def _zstd_problem(error: zstandard.ZstdError) -> Problem:
    if "too much memory" in str(error):
        return TooLarge(
            "zstd_window_too_large",
            f"unpacking the archive needs a window of more than {MAX_ZSTD_WINDOW} bytes: "
            "compress it with a level below 22 or with --long=26 at most",
        )
    return damaged(f"its compressed data cannot be unpacked ({error})")
