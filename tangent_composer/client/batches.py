"""Requests as large as a service allows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tangent_composer.client.pictures import Picture

ROOM = 4096  # bytes of a form beside the images' own, for each


def batches(pictures: Sequence[Picture], most: int, most_bytes: int) -> Iterator[list[Picture]]:
    """Yield the images in order, in lists of at most so many images and bytes."""
    batch: list[Picture] = []
    size = 0
    for picture in pictures:
        own = _size(picture) + ROOM
        if batch and (len(batch) == most or size + own > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(picture)
        size += own
    if batch:
        yield batch


def _size(picture: Picture) -> int:
    if isinstance(picture.source, Path):
        return picture.source.stat().st_size if picture.source.is_file() else 0
    return len(picture.source)
