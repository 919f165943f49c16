"""An uploaded archive, checked image by image and rewritten as one pack of the accepted files.

Memory stays bounded: the archive is read as a stream, a bounded part of it waits for its check, and
an accepted image takes about 300 bytes. Files with equal content are duplicates. Under one label
only the first is kept: a dataset is a set of images, and a component does not depend on how often
a file was copied. Under several labels all are kept, as only the owner knows which label is right.
"""

import errno
import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from app.archives.collection import AcceptedImage, Collection, Files, Rejected
from app.archives.entries import Limits
from app.archives.packs import PackWriter, Place
from app.errors import DiskFull, TooLarge


class LabelledImage(NamedTuple):
    """An image of the new dataset, and the place of its bytes in the pack."""

    label: str
    image: AcceptedImage
    place: Place
    copies: int  # files of the archive with these bytes and this label, 1 or more


@dataclass(frozen=True)
class Upload:
    """The result for one archive; the caller moves the file `pack` away within the block."""

    sha256: str  # of the archive
    bytes: int  # of the archive
    pack: Path
    images: list[LabelledImage]  # in the archive's order
    labels: dict[str, int]  # label -> images
    rejected: Rejected
    duplicates: int
    files: Files
    warnings: list[str]  # on labels that may not be as meant


@contextmanager
def receive(
    file: BinaryIO, pack: Path, limits: Limits, code_page: str | None = None
) -> Iterator[Upload]:
    """Check the archive in this seekable file and write its images to a pack at the path `pack`.

    The file at that path is removed after the block in any case. The code page is that of names
    that are not in UTF-8.

    Raises:
        Problem: those of `members`, `manifests` and `layouts`; TooLarge `archive_too_large`,
            `archive_bomb`, `too_many_images`, `too_many_labels`, `manifest_too_large`; Invalid
            `no_images`, `no_labels`; DiskFull `disk_full`.
    """
    try:
        with report_full_disk("this dataset"):
            yield _receive(file, pack, limits, code_page)
    finally:
        pack.unlink(missing_ok=True)


@contextmanager
def report_full_disk(what: str) -> Iterator[None]:
    """Turn the error of a full disk into a problem.

    Raises:
        DiskFull: `disk_full`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            "disk_full",
            f"the disk of the service has no room left for {what}: delete datasets or components "
            "that are no longer needed, or give the service a larger disk",
        ) from error


def measure(file: BinaryIO, limits: Limits) -> tuple[int, str]:
    """Return the archive's size and SHA-256.

    Raises:
        TooLarge: `archive_too_large`.
    """
    size = file.seek(0, io.SEEK_END)
    if size > limits.max_upload_bytes:
        raise TooLarge(
            "archive_too_large",
            f"the archive has {size} bytes, more than the {limits.max_upload_bytes} allowed: "
            "split it into several",
        )
    file.seek(0)
    return size, hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _receive(file: BinaryIO, pack: Path, limits: Limits, code_page: str | None) -> Upload:
    size, digest = measure(file, limits)
    with PackWriter(pack) as writer:
        collection = Collection(size, writer, limits, code_page)
        collection.read(file)
        labelled = collection.labelled()
        unique = _unique(labelled)
        contents = {image.sha256 for _, image in unique}
        copies = Counter((label, image.sha256) for label, image in labelled)
        writer.keep_only(contents)
    return Upload(
        sha256=digest,
        bytes=size,
        pack=pack,
        images=[
            LabelledImage(label, image, writer.places[image.sha256], copies[label, image.sha256])
            for label, image in unique
        ],
        labels=dict(sorted(Counter(label for label, _ in unique).items())),
        rejected=collection.rejected,
        duplicates=len(labelled) - len(contents),
        files=collection.files(len(labelled)),
        warnings=collection.warnings(labelled),
    )


def _unique(labelled: list[tuple[str, AcceptedImage]]) -> list[tuple[str, AcceptedImage]]:
    """Return the images without duplicates under the same label, the first one kept."""
    first: dict[tuple[str, bytes], tuple[str, AcceptedImage]] = {}
    for label, image in labelled:
        first.setdefault((label, image.sha256), (label, image))
    return list(first.values())
