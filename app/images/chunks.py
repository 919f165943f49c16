"""Chunks of images: as many as are in memory, and on their way through the engine, at a time."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

CHUNK = 64  # images
MAX_BYTES = 32 * 2**20  # of their files, or one file that is larger

Image = TypeVar("Image")


def chunks(images: Iterable[Image], size: Callable[[Image], int]) -> Iterator[list[Image]]:
    """Yield the images in their order, at most CHUNK and MAX_BYTES at a time."""
    chunk, held = list[Image](), 0
    for image in images:
        own = size(image)
        if chunk and (len(chunk) == CHUNK or held + own > MAX_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append(image)
        held += own
    if chunk:
        yield chunk
