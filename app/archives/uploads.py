"""An uploaded archive, checked image by image and rewritten as one pack of the accepted files.

Memory stays bounded: the archive is read as a stream, a bounded part of it waits for its check, and
an accepted image takes about 300 bytes. Files with equal content are duplicates. Under one label
only the first is kept: a dataset is a set of images, and a component does not depend on how often
a file was copied. Under several labels all are kept, as only the owner knows which label is right.
Equal files have one split, the strictest of theirs: of a file that lies in train/ and in test/ the
one in test/ is kept. What was told of those under one label is kept too, as that of another may go.
"""

import errno
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from app.archives import folders, joined_archives, lookalikes
from app.archives.collection import Collection
from app.archives.entries import Limits
from app.archives.groups import joined
from app.archives.members import Member, members, members_of
from app.archives.names import Names
from app.archives.outcomes import AcceptedImage, Files, LabelledFile, Rejected
from app.archives.packs import PackWriter, Place
from app.archives.splits import strictest
from app.errors import DiskFull, TooLarge


class LabelledImage(NamedTuple):
    """An image of the new dataset, and the place of its bytes in the pack."""

    label: str
    image: AcceptedImage
    place: Place
    copies: int  # files of the archive with these bytes and this label, 1 or more
    split: str | None  # the strictest of all files with these bytes
    group: str | None
    own_split: str | None  # the strictest of those with this label too


@dataclass(frozen=True)
class Upload:
    """The result for one archive; the caller moves the file `pack` away within the block."""

    sha256: str  # of the archive
    bytes: int  # of the archive
    pack: Path
    images: list[LabelledImage]  # in the archive's order
    labels: dict[str, int]  # label -> images
    splits: dict[str, int]  # split -> images; those without one are not counted
    rejected: Rejected
    duplicates: int
    files: Files
    warnings: list[str]  # on labels that may not be as meant
    near_duplicates: dict[str, Any]


@contextmanager
def receive(
    file: BinaryIO, pack: Path, limits: Limits, code_page: str | None = None
) -> Iterator[Upload]:
    """Check the archive in this seekable file and write its images to a pack at the path `pack`.

    The file at that path is removed after the block in any case. The code page is that of names
    that are not marked as UTF-8.

    Raises:
        Problem: those of `members`, `manifests` and `layouts`; TooLarge `archive_too_large`,
            `archive_bomb`, `too_many_images`, `too_many_labels`, `manifest_too_large`; Invalid
            `no_images`, `no_labels`; DiskFull `disk_full`.
    """
    with report_full_disk("this dataset"), examined(file, pack, limits, code_page) as upload:
        yield upload


@contextmanager
def examined(
    source: BinaryIO | Path, pack: Path, limits: Limits, code_page: str | None = None
) -> Iterator[Upload]:
    """As `receive`, also of the files in a folder, whose SHA-256 is left empty.

    Raises:
        Problem: as `receive`, but for `disk_full`, and `folders.entries`.
    """
    try:
        if isinstance(source, Path):
            found = folders.entries(source, limits.max_dataset_bytes, Names(code_page))
            files, size, digest = members_of(found, limits), folders.size_of(source), ""
        else:
            size, digest = measure(source, limits)
            files = members(source, limits, code_page)
        yield _examined(files, size, digest, pack, limits)
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


def _examined(
    files: Iterable[Member], size: int, digest: str, pack: Path, limits: Limits
) -> Upload:
    with PackWriter(pack) as writer:
        collection = Collection(size, writer, limits)
        collection.take(files)
        labelled = collection.labelled()
        told = _unique(labelled)
        unique = joined_archives.unique(told)
        contents = {file.image.sha256 for file in unique}
        copies = Counter((file.label, file.image.sha256) for file in labelled)
        writer.keep_only(contents)
    near = lookalikes.found(unique)
    return Upload(
        sha256=digest,
        bytes=size,
        pack=pack,
        images=[
            LabelledImage(
                file.label,
                file.image,
                writer.places[file.image.sha256],
                copies[file.label, file.image.sha256],
                file.split,
                file.group,
                own.split,
            )
            for file, own in zip(unique, told, strict=True)
        ],
        labels=dict(sorted(Counter(file.label for file in unique).items())),
        splits=dict(sorted(Counter(file.split for file in unique if file.split).items())),
        rejected=collection.rejected,
        duplicates=len(labelled) - len(contents),
        files=collection.files(labelled),
        warnings=[*collection.warnings(labelled), *lookalikes.warnings_of(near)],
        near_duplicates=near,
    )


def _unique(labelled: list[LabelledFile]) -> list[LabelledFile]:
    """Return the images without duplicates under the same label, in the archive's order.

    Of those the first in the strictest of their own splits is kept, with the groups of all.
    """
    kept: dict[tuple[str, bytes], int] = {}
    groups: dict[tuple[str, bytes], str | None] = {}
    for place, file in enumerate(labelled):
        key = file.label, file.image.sha256
        groups[key] = joined((groups.get(key), file.group))
        before = labelled[kept.setdefault(key, place)].split
        if strictest((before, file.split)) != before:
            kept[key] = place
    return [
        labelled[place]._replace(group=groups[key])
        for key, place in sorted(kept.items(), key=itemgetter(1))
    ]
