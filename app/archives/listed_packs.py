"""Listed packs: an archive's images without labels, end to end in one file with their list.

    with receive(file, path, limits) as found: …        the file's path is found.pack
    for image in listed(path, found.list_at): image.read(path)

The list follows the images, a line of JSON for each in the archive's order: two paths with the same
bytes are two entries of one place.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from app.archives import packs
from app.archives.collection import Collection
from app.archives.entries import Limits
from app.archives.outcomes import Rejected
from app.archives.packs import PackWriter
from app.archives.uploads import measure, report_full_disk


class DamagedPack(Exception):
    """The bytes of an image are not in the pack."""


class Listed(NamedTuple):
    """An image of the list."""

    path: str  # in the archive
    sha256: str
    offset: int
    length: int

    def read(self, pack: Path) -> bytes:
        """Return the image's file.

        Raises:
            DamagedPack: it is not there.
        """
        try:
            data = packs.read(pack, self.offset, self.length)
        except (EOFError, FileNotFoundError) as error:
            raise DamagedPack(f"the bytes of {self.path} are not there") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DamagedPack(f"the bytes of {self.path} are not those that were sent")
        return data


@dataclass(frozen=True)
class ListedPack:
    """The result for one archive; the caller moves the file `pack` away within the block."""

    sha256: str  # of the archive
    bytes: int  # of the archive
    pack: Path
    list_at: int  # the list's place in the file
    size: int  # of the file
    num_images: int
    rejected: Rejected


@contextmanager
def receive(
    file: BinaryIO, pack: Path, limits: Limits, code_page: str | None = None
) -> Iterator[ListedPack]:
    """Check the archive in this seekable file and write its images to a pack at the path `pack`.

    The file at that path is removed after the block in any case.

    Raises:
        Problem: as `app.archives.uploads.receive`, but for those of labels.
    """
    try:
        with report_full_disk("this archive"):
            yield _receive(file, pack, limits, code_page)
    finally:
        pack.unlink(missing_ok=True)


def _receive(file: BinaryIO, pack: Path, limits: Limits, code_page: str | None) -> ListedPack:
    size, sha256 = measure(file, limits)
    with PackWriter(pack) as writer:
        collection = Collection(size, writer, limits, code_page, has_labels=False)
        collection.read(file)
    list_at = pack.stat().st_size
    with pack.open("a", encoding="utf-8") as target:
        for image in collection.images:
            place = writer.places[image.sha256]
            fields = (image.path, image.sha256.hex(), place.offset, place.length)
            target.write(json.dumps(fields) + "\n")
    return ListedPack(
        sha256=sha256,
        bytes=size,
        pack=pack,
        list_at=list_at,
        size=pack.stat().st_size,
        num_images=len(collection.images),
        rejected=collection.rejected,
    )


def listed(pack: Path, list_at: int) -> Iterator[Listed]:
    """Yield the images of the list, in its order.

    Raises:
        DamagedPack: the list is not there.
    """
    try:
        with pack.open("rb") as file:
            file.seek(list_at)
            for line in file:
                yield Listed(*json.loads(line))
    except (FileNotFoundError, TypeError, ValueError) as error:
        raise DamagedPack("the list of the archive's images is not there") from error
