"""The outcomes of an archive's files: labelled, or rejected with the reason; and their numbers."""

from dataclasses import dataclass, field
from typing import NamedTuple

from app.images.image_files import Facts

MAX_LISTED_REJECTIONS = 1000  # listed with their reasons; further ones are only counted


class AcceptedImage(NamedTuple):
    """A file of the archive that is a good image."""

    path: str
    sha256: bytes
    facts: Facts


class LabelledFile(NamedTuple):
    """A good image with what its folders or a manifest tell of it."""

    label: str
    split: str | None  # one of app.archives.splits.SPLITS
    group: str | None  # patient, source file, video: images of one are never parted
    folder: str | None  # of its split
    image: AcceptedImage


class Files(NamedTuple):
    """The numbers of an archive's files by their outcome; every file has exactly one."""

    total: int
    labelled: int  # images of the dataset, and their copies
    rejected: int
    passed_over: int  # added by operating systems and tools
    manifests: int
    splits: dict[str, int]  # labelled ones by the folder of their split


@dataclass
class Rejected:
    """Files not accepted, and rows without a file: the first thousand, and the count of all."""

    listed: list[dict[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, path: str, reason: str) -> None:
        self.count += 1
        if len(self.listed) < MAX_LISTED_REJECTIONS:
            # Names and cells come from the client: JSON allows what no answer can hold.
            self.listed.append({"path": _readable(path), "reason": _readable(reason)})


def _readable(text: str) -> str:
    """Return the text as every database and answer can hold it."""
    return text.replace("\0", "?").encode(errors="replace").decode()
