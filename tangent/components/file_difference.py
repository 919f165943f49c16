"""The difference between two component files, by the names of their tensors."""

from pathlib import Path
from typing import Any, BinaryIO

from tangent.components.file_header import header_of

METADATA = "__metadata__"  # as the format names it
CHUNK = 2**20  # bytes


def differing(first: Path, second: Path) -> list[str]:
    """Return the names of the tensors that are not the same in two files that differ.

    METADATA is the last of them if the files' metadata differ, or only the order of the tensors.

    Raises:
        BadComponent: as `header_of`.
    """
    (ours, our_begin), (theirs, their_begin) = header_of(first), header_of(second)
    names = sorted((ours.keys() | theirs.keys()) - {METADATA})
    with first.open("rb") as one, second.open("rb") as other:
        found = [
            name
            for name in names
            if not _is_same(
                (one, our_begin, ours.get(name)), (other, their_begin, theirs.get(name))
            )
        ]
    if ours.get(METADATA) != theirs.get(METADATA) or not found:
        found.append(METADATA)
    return found


Place = tuple[BinaryIO, int, dict[str, Any] | None]  # a file, where its tensors begin, an entry


def _is_same(one: Place, other: Place) -> bool:
    (file, begin, entry), (other_file, other_begin, other_entry) = one, other
    if entry is None or other_entry is None:
        return False
    if (entry["dtype"], entry["shape"]) != (other_entry["dtype"], other_entry["shape"]):
        return False
    start, end = entry["data_offsets"]
    file.seek(begin + start)
    other_file.seek(other_begin + other_entry["data_offsets"][0])
    for at in range(start, end, CHUNK):
        size = min(CHUNK, end - at)
        if file.read(size) != other_file.read(size):
            return False
    return True
