"""An uploaded archive, checked image by image and rewritten as one pack of the accepted files.

Memory stays bounded: the archive is read as a stream, a bounded part of it waits for its check, and
what is kept of an image is some 300 bytes. Files of equal content count as duplicates. Under one
label only the first of them is kept: a dataset is a set of images, and a component does not depend
on how often a file was copied. Under several labels each is kept, as only its owner knows better.
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
from app.archives.checks import Checked, Checks
from app.archives.entries import Limits
from app.archives.packs import PackWriter, Place
from app.errors import Invalid, NotReady, TooLarge
from app.images import Facts

MAX_REJECTED = 1000  # told one by one; further ones are counted
FREE_PIXELS, PIXELS_PER_BYTE = 2 * 10**9, 200  # a photo has some 10 pixels a byte, a drawing 100
HOW_TO_LABEL = (
    "put every image in a folder named for its label, or add a metadata.csv with the columns "
    "file_name and label"
)


class Found(NamedTuple):
    """A good image of the archive."""

    path: str
    sha256: bytes
    facts: Facts


class LabelledImage(NamedTuple):
    """An image of the dataset to be, and where its bytes lie in the pack."""

    label: str
    found: Found
    place: Place
    copies: int  # files of the archive with these bytes and this label, at least this one


@dataclass
class Rejected:
    """The files not accepted: the first thousand with their reasons, all of them counted."""

    listed: list[dict[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, path: str, reason: str) -> None:
        self.count += 1
        if len(self.listed) < MAX_REJECTED:
            readable = path.encode(errors="replace").decode()  # JSON may hold halves of characters
            self.listed.append({"path": readable, "reason": reason})


@dataclass(frozen=True)
class Upload:
    """What an archive came to; the file `pack` is the caller's to move away within the block."""

    sha256: str  # of the archive
    bytes: int  # of the archive
    pack: Path
    images: list[LabelledImage]  # in the archive's order
    labels: dict[str, int]  # label -> images
    rejected: Rejected
    duplicates: int


@contextmanager
def received(file: BinaryIO, pack: Path, limits: Limits) -> Iterator[Upload]:
    """The archive in this seekable file, checked, its images packed at the path `pack`.

    Nothing is left at that path after the block, whatever happens.

    Raises:
        Problem: those of `members` and of `layouts`; TooLarge `archive_too_large`,
            `archive_bomb`, `too_many_images`, `too_many_labels`, `manifest_too_large`; Invalid
            `no_images`, `no_labels`; NotReady `disk_full`.
    """
    try:
        with with_room("this dataset"):
            yield _received(file, pack, limits)
    finally:
        pack.unlink(missing_ok=True)


@contextmanager
def with_room(what: str) -> Iterator[None]:
    """Turns the error of a full disk into a problem.

    Raises:
        NotReady: `disk_full`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NotReady(
            "disk_full", f"the service has no room left for {what}: try again later"
        ) from error


def _received(file: BinaryIO, pack: Path, limits: Limits) -> Upload:
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
        contents = {found.sha256 for _, found in unique}
        copies = Counter((label, found.sha256) for label, found in labelled)
        writer.keep_only(contents)
    return Upload(
        sha256=digest,
        bytes=size,
        pack=pack,
        images=[
            LabelledImage(label, found, writer.places[found.sha256], copies[label, found.sha256])
            for label, found in unique
        ],
        labels=dict(sorted(Counter(label for label, _ in unique).items())),
        rejected=collection.rejected,
        duplicates=len(labelled) - len(contents),
    )


def _unique(labelled: list[tuple[str, Found]]) -> list[tuple[str, Found]]:
    """The first image of each content under each label."""
    first: dict[tuple[str, bytes], tuple[str, Found]] = {}
    for label, found in labelled:
        first.setdefault((label, found.sha256), (label, found))
    return list(first.values())


class Collection:
    """The good images of an archive, those in the pack; and the files that are none."""

    def __init__(self, archive_bytes: int, writer: PackWriter, limits: Limits) -> None:
        self.rejected = Rejected()
        self._found: list[Found] = []
        self._manifest = layouts.Manifest(limits.max_dataset_images)
        self._writer, self._limits = writer, limits
        self._pixels, self._most_pixels = 0, max(FREE_PIXELS, PIXELS_PER_BYTE * archive_bytes)

    def read(self, file: BinaryIO) -> None:
        """Read the archive to its end, its images into the pack."""
        with Checks(self._limits, self._accept) as checks:
            for member in members.members(file, self._limits):
                if layouts.may_be_manifest(member.path) and self._is_manifest(member):
                    continue
                if member.size > self._limits.max_image_bytes:
                    most = self._limits.max_image_bytes
                    self.rejected.add(
                        member.path,
                        f"the file has {member.size} bytes, more than the {most} allowed",
                    )
                else:
                    checks.add(member.path, member.read())
        if not self._found:
            first = "; ".join(
                f"{item['path']}: {item['reason']}" for item in self.rejected.listed[:3]
            )
            raise Invalid(
                "no_images",
                f"the archive holds no image that can be read ({first or 'it is empty'})",
                rejected=self.rejected.listed[:20],
                num_rejected=self.rejected.count,
            )

    def labelled(self) -> list[tuple[str, Found]]:
        """The images with a label; those without one become rejected files."""
        by_manifest = self._manifest.found
        labels = self._by_manifest() if by_manifest else self._by_folder()
        found = [(label, image) for label, image in zip(labels, self._found, strict=True) if label]
        if not found:
            where = "the manifest lists none of them" if by_manifest else "they lie in no folder"
            raise Invalid(
                "no_labels",
                f"the archive's {len(self._found)} images have no labels, as {where}: "
                + HOW_TO_LABEL,
            )
        count, most = len({label for label, _ in found}), self._limits.max_labels
        if count > most:
            raise TooLarge(
                "too_many_labels",
                f"the archive has {count} labels, more than the {most} allowed: "
                "name folders for labels, not for single images",
            )
        return found

    def _is_manifest(self, member: members.Member) -> bool:
        most = layouts.MAX_MANIFEST_BYTES
        if member.size <= most:
            data = member.read()
            if self._manifest.add(member.path, data):
                return True
            self.rejected.add(member.path, "a table without file_name and label is no manifest")
            return True
        if PurePosixPath(member.path).stem.lower() not in layouts.MANIFEST_NAMES:
            return False
        raise TooLarge(
            "manifest_too_large",
            f"{member.path} has {member.size} bytes, more than the {most} allowed for a manifest",
        )

    def _accept(self, checked: Checked) -> None:
        self._pixels += checked.pixels
        if self._pixels > self._most_pixels:
            raise TooLarge(
                "archive_bomb",
                f"the images up to {checked.path!r} have {self._pixels} pixels, more than "
                f"{self._most_pixels} are allowed in an archive of this size: make them smaller",
            )
        if checked.facts is None:
            self.rejected.add(checked.path, checked.reason)
            return
        most = self._limits.max_dataset_images
        if len(self._found) == most:
            raise TooLarge(
                "too_many_images",
                f"the archive holds more than the {most} images allowed: split it into several",
            )
        self._writer.add(checked.sha256, checked.data)
        self._found.append(Found(checked.path, checked.sha256, checked.facts))

    def _by_folder(self) -> Iterator[str | None]:
        same: dict[str, str] = {}
        paths = [image.path for image in self._found]
        for path, label in zip(paths, layouts.folder_labels(paths), strict=True):
            fault = layouts.label_fault(label) if label else "is missing: it lies in no folder"
            if label is None or fault:
                self.rejected.add(path, f"its label {fault}")
                yield None
            else:
                yield same.setdefault(label.strip(), label.strip())

    def _by_manifest(self) -> Iterator[str | None]:
        left, faults = dict(self._manifest.labels), dict(self._manifest.rejected)
        for image in self._found:
            label = left.pop(image.path, None)
            if label is None:
                reason = faults.pop(image.path, "the manifest does not list it")
                self.rejected.add(image.path, reason)
            yield label
        for path in left:
            self.rejected.add(path, "the manifest lists it, but there is no such image")
        for path, reason in faults.items():
            self.rejected.add(path, reason)
