"""Images for a training: decoded batches in an order that their content fixes."""

import os
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from app.archives.groups import names_of
from app.files.blobs import BlobMissing
from app.files.stored_images import check_bytes, damaged, unreadable
from app.images import near_duplicates
from app.images.budget import ACCEPTED_TIMES, Budget
from app.images.chunks import chunks
from app.images.decoder import Limits, decoder_of
from app.images.image_files import BadImage
from tangent.backbones.preprocessing import Preprocessing

AHEAD = 4  # batches decoded or in decoding before the caller needs them
DECODERS = min(4, os.cpu_count() or 1)  # threads; each holds a chunk of image files


class Entry(NamedTuple):
    """An image's label, its place in the dataset's pack, and what its group is made of."""

    label: str
    sha256: str
    id: str
    path: str
    pack_offset: int
    pack_length: int
    group: str | None = None
    perceptual_hash: str | None = None


def groups(entries: list[Entry]) -> list[int]:
    """Return each image's group, which no hold-out parts: given ones, and near duplicates."""
    alike = [names_of(entry.group) for entry in entries], [entry.sha256 for entry in entries]
    return near_duplicates.groups_of([entry.perceptual_hash for entry in entries], alike)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return images by (label, sha256, id), sorted as databases differ, and folders too."""
    return sorted(entries, key=attrgetter("label", "sha256", "id"))


def once_each(entries: list[Entry], *, by_group: bool = False) -> list[Entry]:
    """Return images of different bytes: of equal ones, the first with its label alone.

    `by_group`: of equal ones in one group; if another group has one too, it is that one's as well.
    """
    found: dict[tuple[Hashable, str], Entry] = {}
    for entry in entries:
        found.setdefault((unit_of(entry) if by_group else None, entry.sha256), entry)
    return list(found.values())


def unit_of(entry: Entry) -> Hashable:
    """Return the unit of a private training by groups: what is given, never what looks alike."""
    return ("image", entry.sha256) if entry.group is None else ("group", entry.group)


class ImageSource:
    """The image source of `tangent.fit`; it holds a few batches, whatever the dataset's size."""

    def __init__(
        self,
        entries: list[Entry],
        pack: Path,
        preprocess: Preprocessing,
        limits: Limits,
    ) -> None:
        self.labels = [entry.label for entry in entries]
        self._entries, self._pack = entries, pack
        self._preprocess, self._decoder = preprocess, decoder_of(limits, for_one=True)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield batches (b, 3, S, S) float32 of `size` images; the last batch may be smaller.

        Decoding runs ahead in threads, so that it overlaps with the caller's work on a batch.

        Raises:
            Invalid: `image_unreadable` when an image does not decode.
            NotReady: `image_damaged` when the pack holds other bytes than were uploaded.
        """
        starts = iter(range(0, len(self._entries), size))
        with self._pack.open("rb") as pack, ThreadPoolExecutor(DECODERS, "decode") as pool:

            def submit(count: int) -> Iterator:
                for start in islice(starts, count):
                    part = self._entries[start : start + size]
                    yield pool.submit(self._batch, pack.fileno(), part)

            ahead = deque(submit(AHEAD))
            try:
                while ahead:
                    batch = ahead.popleft().result()
                    ahead.extend(submit(1))
                    yield batch
            finally:  # also when the caller stops early
                pool.shutdown(cancel_futures=True)

    def _batch(self, pack: int, part: list[Entry]) -> Tensor:
        budget = Budget(is_patient=True, times=ACCEPTED_TIMES)
        pixels: list[np.ndarray] = []
        for some in chunks(part, lambda entry: entry.pack_length):
            files = [_file(pack, entry) for entry in some]
            decoded = self._decoder.pixels(files, self._preprocess.geometry, budget)
            for entry, found in zip(some, decoded, strict=True):
                if isinstance(found, BadImage):
                    raise unreadable(entry.path, found.reason) from found
                pixels.append(found)
        return self._preprocess.normalize(torch.from_numpy(np.stack(pixels)))


def _file(pack: int, entry: Entry) -> bytes:
    data = os.pread(pack, entry.pack_length, entry.pack_offset)
    try:
        check_bytes(data, entry.id, entry.sha256)
    except BlobMissing as missing:
        raise damaged(missing) from missing
    return data
