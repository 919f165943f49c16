"""A component's file without its statistics, made of the file's own bytes."""

import hashlib
import json
from typing import Any, BinaryIO

STATISTICS = "statistics."  # how the names of their tensors begin
PIECE = 2**20  # bytes in memory at a time


def write_without_statistics(file: BinaryIO, target: BinaryIO) -> str:
    """Write what `Component.save` writes of the same component without statistics.

    `file` is a component's file that was checked before. Return the SHA-256 of what is written.
    """
    length = int.from_bytes(file.read(8), "little")
    header: dict[str, Any] = json.loads(file.read(length))
    digest, begin = hashlib.sha256(), 8 + length
    kept = [each for each in header.items() if not each[0].startswith(STATISTICS)]
    head, places = _laid_out(kept)
    for piece in (len(head).to_bytes(8, "little"), head):
        digest.update(piece)
        target.write(piece)
    for start, end in places:
        file.seek(begin + start)
        for left in range(end - start, 0, -PIECE):
            piece = file.read(min(PIECE, left))
            digest.update(piece)
            target.write(piece)
    return digest.hexdigest()


def _laid_out(members: list[tuple[str, Any]]) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the header of these tensors, end to end, and their places in the old file."""
    made: dict[str, Any] = {}
    places: list[tuple[int, int]] = []
    size = 0
    for name, about in members:
        if "data_offsets" in about:
            start, end = about["data_offsets"]
            places.append((start, end))
            about = about | {"data_offsets": [size, size + end - start]}
            size += end - start
        made[name] = about
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8), places  # as the format's own writer aligns it
