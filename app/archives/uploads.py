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
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from app.archives import layouts, members
from app.archives.entries import Limits
from app.archives.image_checks import CheckedFile, ImageChecks
from app.archives.packs import PackWriter, Place
from app.errors import DiskFull, Invalid, TooLarge
from app.images import Facts
from tangent.labels import tidy

MAX_LISTED_REJECTIONS = 1000  # listed with their reasons; further ones are only counted
FREE_PIXELS, PIXELS_PER_BYTE = 2 * 10**9, 200  # a photo has about 10 pixels per byte, a drawing 100
HOW_TO_LABEL = (
    "put every image in a folder named for its label, or add a metadata.csv with the columns "
    "file_name and label"
)


class AcceptedImage(NamedTuple):
    """A file of the archive that is a good image."""

    path: str
    sha256: bytes
    facts: Facts


class LabelledImage(NamedTuple):
    """An image of the new dataset, and the place of its bytes in the pack."""

    label: str
    image: AcceptedImage
    place: Place
    copies: int  # files of the archive with these bytes and this label, 1 or more


@dataclass
class Rejected:
    """The files that were not accepted: the first thousand with reasons, and the count of all."""

    listed: list[dict[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, path: str, reason: str) -> None:
        self.count += 1
        if len(self.listed) < MAX_LISTED_REJECTIONS:
            readable = path.encode(errors="replace").decode()  # JSON allows lone surrogates
            self.listed.append({"path": readable, "reason": reason})


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


@contextmanager
def receive(file: BinaryIO, pack: Path, limits: Limits) -> Iterator[Upload]:
    """Check the archive in this seekable file and write its images to a pack at the path `pack`.

    The file at that path is removed after the block in any case.

    Raises:
        Problem: those of `members` and of `layouts`; TooLarge `archive_too_large`,
            `archive_bomb`, `too_many_images`, `too_many_labels`, `manifest_too_large`; Invalid
            `no_images`, `no_labels`; DiskFull `disk_full`.
    """
    try:
        with report_full_disk("this dataset"):
            yield _receive(file, pack, limits)
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


def _receive(file: BinaryIO, pack: Path, limits: Limits) -> Upload:
    size = file.seek(0, io.SEEK_END)
    if size > limits.max_upload_bytes:
        raise TooLarge(
            "archive_too_large",
            f"the archive has {size} bytes, more than the {limits.max_upload_bytes} allowed: "
            "split it into several datasets",
        )
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    with PackWriter(pack) as writer:
        collection = Collection(size, writer, limits)
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
    )


def _unique(labelled: list[tuple[str, AcceptedImage]]) -> list[tuple[str, AcceptedImage]]:
    """Return the images without duplicates under the same label, the first one kept."""
    first: dict[tuple[str, bytes], tuple[str, AcceptedImage]] = {}
    for label, image in labelled:
        first.setdefault((label, image.sha256), (label, image))
    return list(first.values())


class Collection:
    """The accepted images of an archive, which are in the pack, and its rejected files."""

    def __init__(self, archive_bytes: int, writer: PackWriter, limits: Limits) -> None:
        self.rejected = Rejected()
        self._accepted: list[AcceptedImage] = []
        self._manifest = layouts.Manifest(limits.max_dataset_images)
        self._writer, self._limits = writer, limits
        self._pixels, self._max_pixels = 0, max(FREE_PIXELS, PIXELS_PER_BYTE * archive_bytes)

    def read(self, file: BinaryIO) -> None:
        """Read the whole archive and write its accepted images to the pack."""
        with ImageChecks(self._limits, self._accept) as checks:
            for member in members.members(file, self._limits):
                if layouts.may_be_manifest(member.path) and self._is_manifest(member):
                    continue
                if member.size > self._limits.max_image_bytes:
                    self.rejected.add(
                        member.path,
                        f"the file has {member.size} bytes, "
                        f"more than the {self._limits.max_image_bytes} allowed",
                    )
                else:
                    checks.add(member.path, member.read())
        if not self._accepted:
            first = "; ".join(
                f"{item['path']}: {item['reason']}" for item in self.rejected.listed[:3]
            )
            raise Invalid(
                "no_images",
                f"the archive holds no readable image ({first or 'it is empty'})",
                rejected=self.rejected.listed[:20],
                num_rejected=self.rejected.count,
            )

    def labelled(self) -> list[tuple[str, AcceptedImage]]:
        """Return the labelled images; reject the images without a label."""
        by_manifest = self._manifest.has_rows
        labels = self._labels_from_manifest() if by_manifest else self._labels_from_folders()
        labelled = [
            (label, image) for label, image in zip(labels, self._accepted, strict=True) if label
        ]
        if not labelled:
            cause = "the manifest lists none of them" if by_manifest else "they are not in folders"
            raise Invalid(
                "no_labels",
                f"the archive's {len(self._accepted)} images have no labels, as {cause}: "
                + HOW_TO_LABEL,
            )
        count, max_labels = len({label for label, _ in labelled}), self._limits.max_labels
        if count > max_labels:
            raise TooLarge(
                "too_many_labels",
                f"the archive has {count} labels, more than the {max_labels} allowed: "
                "name folders for labels, not for single images",
            )
        return labelled

    def _is_manifest(self, member: members.Member) -> bool:
        max_bytes = layouts.MAX_MANIFEST_BYTES
        if member.size <= max_bytes:
            data = member.read()
            if self._manifest.add(member.path, data):
                return True
            self.rejected.add(
                member.path, "a table without the columns file_name and label is not a manifest"
            )
            return True
        if PurePosixPath(member.path).stem.lower() not in layouts.MANIFEST_NAMES:
            return False
        raise TooLarge(
            "manifest_too_large",
            f"the manifest {member.path} has {member.size} bytes, "
            f"more than the {max_bytes} allowed: split the dataset",
        )

    def _accept(self, checked: CheckedFile) -> None:
        self._pixels += checked.pixels
        if self._pixels > self._max_pixels:
            raise TooLarge(
                "archive_bomb",
                f"the images up to {checked.path!r} have {self._pixels} pixels, more than "
                f"{self._max_pixels} allowed for an archive of this size: upload smaller images",
            )
        if checked.facts is None:
            self.rejected.add(checked.path, checked.reason)
            return
        max_images = self._limits.max_dataset_images
        if len(self._accepted) == max_images:
            raise TooLarge(
                "too_many_images",
                f"the archive holds more than the {max_images} images allowed: "
                "split it into several datasets",
            )
        self._writer.add(checked.sha256, checked.data)
        self._accepted.append(AcceptedImage(checked.path, checked.sha256, checked.facts))

    def _labels_from_folders(self) -> Iterator[str | None]:
        interned: dict[str, str] = {}
        paths = [image.path for image in self._accepted]
        for path, label in zip(paths, layouts.folder_labels(paths), strict=True):
            missing = "is missing: the image is not in a folder"
            fault = layouts.label_fault(label) if label else missing
            if label is None or fault:
                self.rejected.add(path, f"its label {fault}")
                yield None
            else:
                label = tidy(label)
                yield interned.setdefault(label, label)

    def _labels_from_manifest(self) -> Iterator[str | None]:
        unmatched, faults = dict(self._manifest.labels), dict(self._manifest.rejected)
        for image in self._accepted:
            label = unmatched.pop(image.path, None)
            if label is None:
                reason = faults.pop(image.path, "the manifest does not list this image")
                self.rejected.add(image.path, reason)
            yield label
        for path in unmatched:
            self.rejected.add(path, "the manifest lists this image, but the archive lacks it")
        for path, reason in faults.items():
            self.rejected.add(path, reason)
