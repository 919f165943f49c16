"""A pack: the accepted image files of a dataset end to end in one file, without duplicates."""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

CHUNK = 2**20  # bytes read or overwritten at a time


class Place(NamedTuple):
    """The byte range of a file in the pack."""

    offset: int
    length: int


class Moved(NamedTuple):
    """A file's place in the pack where it is, and its offset in the one to which it goes."""

    place: Place
    offset: int


class PackWriter:
    """Writes a pack to a path; the caller removes the file if it is not wanted."""

    def __init__(self, path: Path) -> None:
        self.places: dict[bytes, Place] = {}  # SHA-256 -> place
        self._path = path
        self._file = path.open("xb")
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, sha256: bytes, data: bytes) -> None:
        """Append the file's bytes, unless the pack has them already."""
        if sha256 not in self.places:
            self._file.write(data)
            self.places[sha256] = Place(self._end, len(data))
            self._end += len(data)

    def keep_only(self, wanted: Collection[bytes]) -> None:
        """Rewrite the pack with the wanted files alone; no file can be added afterwards."""
        self._file.close()
        if len(wanted) == len(self.places):
            return
        kept: dict[bytes, Place] = {}
        new, end = self._path.with_name(self._path.name + ".kept"), 0
        try:
            with self._path.open("rb") as source, new.open("xb") as target:
                for sha256, place in self.places.items():  # in the order of the pack
                    if sha256 in wanted:
                        source.seek(place.offset)
                        target.write(source.read(place.length))
                        kept[sha256] = Place(end, place.length)
                        end += place.length
            os.replace(new, self._path)
        finally:
            new.unlink(missing_ok=True)
        self.places = kept


def read(path: Path, offset: int, length: int) -> bytes:
    """Return the bytes at this place of the pack.

    Raises:
        EOFError: if the pack ends before them.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    if len(data) < length:
        raise EOFError(f"the pack {path.name} ends before {offset} + {length}")
    return data


def write_with(path: Path, pack: Path, held: Iterable[Place], more: Path, new: list[Moved]) -> None:
    """Write a pack with the held places of one pack, and with files of another at new offsets.

    What no place covers is zero: bytes of deleted images are not copied.

    Raises:
        EOFError: if a pack ends before one of its places.
    """
    with path.open("xb") as target:
        for source, moves in ((pack, (Moved(place, place.offset) for place in held)), (more, new)):
            with source.open("rb") as file:
                for place, offset in moves:
                    _copy(file, place, target, offset)
        target.flush()


def _copy(source: BinaryIO, place: Place, target: BinaryIO, offset: int) -> None:
    target.seek(offset)
    end = place.offset + place.length
    for _, data in _chunks(source, [place]):
        target.write(data)
    if source.tell() < end:
        raise EOFError(f"the pack {source.name} ends before {end}")


def uncovered(covered: Iterable[Place], size: int) -> list[Place]:
    """Return the byte ranges of a pack of this size that no place covers, in order."""
    gaps, end = [], 0
    for place in sorted(covered):
        if place.offset > end:
            gaps.append(Place(end, place.offset - end))
        end = max(end, place.offset + place.length)
    return [*gaps, Place(end, size - end)] if size > end else gaps


def erase(path: Path, places: Iterable[Place]) -> None:
    """Zero and fsync these byte ranges, skipping chunks that are already zero."""
    with path.open("r+b") as file:
        for offset, data in _chunks(file, places):
            if data.count(0) < len(data):
                file.seek(offset)
                file.write(bytes(len(data)))
        file.flush()
        os.fsync(file.fileno())


def nonzero_bytes(path: Path, places: Iterable[Place]) -> int:
    """Return the number of bytes at these places that are not zero."""
    with path.open("rb") as file:
        return sum(len(data) - data.count(0) for _, data in _chunks(file, places))


def _chunks(file: BinaryIO, places: Iterable[Place]) -> Iterator[tuple[int, bytes]]:
    for place in places:
        for offset in range(place.offset, place.offset + place.length, CHUNK):
            file.seek(offset)
            data = file.read(min(CHUNK, place.offset + place.length - offset))
            yield offset, data
