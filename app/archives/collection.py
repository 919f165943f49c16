"""The files of one archive, each with one outcome: labelled, rejected, passed over, a manifest."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from app.archives import layouts, manifests, members
from app.archives.entries import Limits
from app.archives.image_checks import CheckedFile, ImageChecks
from app.archives.label_warnings import warnings_of
from app.archives.packs import PackWriter
from app.archives.system_files import is_hidden
from app.errors import Invalid, TooLarge
from app.images.budget import Budget
from app.images.image_files import Facts
from tangent.components.labels import fault, tidy

MAX_LISTED_REJECTIONS = 1000  # listed with their reasons; further ones are only counted
FREE_PIXELS, PIXELS_PER_BYTE = 2 * 10**9, 200  # a photo has about 10 pixels per byte, a drawing 100
FREE_SECONDS, SECONDS_PER_BYTE = 60.0, 1e-6  # of a processor; photos take a tenth
HIDDEN = (
    "it is hidden, as a part of its path begins with a dot: rename it, or list it in a manifest"
)
NO_MANIFEST = "the table is not a manifest"
NO_FOLDER = "is missing: the image is not in a folder"
NO_LABEL = "is missing: no folder around the image is named for a label"


class AcceptedImage(NamedTuple):
    """A file of the archive that is a good image."""

    path: str
    sha256: bytes
    facts: Facts


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
            readable = path.encode(errors="replace").decode()  # JSON allows lone surrogates
            self.listed.append({"path": readable, "reason": reason})


class Collection:
    """The accepted images of an archive, which are in the pack, and its rejected files."""

    def __init__(
        self, archive_bytes: int, writer: PackWriter, limits: Limits, code_page: str | None = None
    ) -> None:
        self.rejected = Rejected()
        self._code_page = code_page
        self._accepted: list[AcceptedImage] = []
        self._manifest = manifests.Manifest(limits.max_dataset_images)
        self._writer, self._limits = writer, limits
        self._pixels, self._max_pixels = 0, max(FREE_PIXELS, PIXELS_PER_BYTE * archive_bytes)
        seconds = FREE_SECONDS + SECONDS_PER_BYTE * archive_bytes
        self._budget = Budget(seconds, is_patient=True)
        self._total = self._passed_over = self._manifests = self._missing = 0
        self._splits: Counter[str] = Counter()
        self._faulty, self._first_fault = 0, ""  # entries that are unusable whatever they hold
        self._of_systems: set[str] = set()
        self._unusable: set[str] = set()  # paths of rejected files

    def read(self, file: BinaryIO) -> None:
        """Read the whole archive and write its accepted images to the pack."""
        links: list[tuple[str, str]] = []
        with ImageChecks(self._limits, self._accept, self._budget) as checks:
            for member in members.members(file, self._limits, self._code_page):
                self._total += 1
                if member.is_system_file:
                    self._passed_over += 1
                    self._of_systems.add(member.path)
                elif member.fault:
                    self._faulty += 1
                    self._first_fault = self._first_fault or f"{member.path}: {member.fault}"
                    self._reject(member.path, member.fault)
                elif member.target is not None:
                    links.append((member.path, member.target))
                elif why := self._too_large(member):
                    self._reject(member.path, why)
                elif not (manifests.may_be_manifest(member.path) and self._is_table(member)):
                    checks.add(member.path, member.read())
        self._follow(links)
        if not self._accepted:
            raise self._nothing()

    @property
    def images(self) -> list[AcceptedImage]:
        """The accepted images, labelled or not, in the archive's order."""
        return self._accepted

    def labelled(self) -> list[tuple[str, AcceptedImage]]:
        """Return the labelled images; reject the images without a label."""
        by_manifest = self._manifest.has_rows
        before = len(self.rejected.listed)
        labels = self._labels_from_manifest() if by_manifest else self._labels_from_folders()
        labelled = [
            (label, image) for label, image in zip(labels, self._accepted, strict=True) if label
        ]
        if not labelled:
            cause = self._cause(self.rejected.listed[before:])
            raise Invalid(
                "no_labels",
                f"the archive has {len(self._accepted)} images without labels, as {cause}: "
                + layouts.WHAT_TO_DO,
            )
        count, max_labels = len({label for label, _ in labelled}), self._limits.max_labels
        if count > max_labels:
            raise TooLarge(
                "too_many_labels",
                f"the archive has {count} labels, more than the {max_labels} allowed: "
                "name folders for labels, not for single images",
            )
        return labelled

    def warnings(self, labelled: list[tuple[str, AcceptedImage]]) -> list[str]:
        """Return what in the labels may not be as meant, a sentence each."""
        pairs = [(label, image.path) for label, image in labelled]
        return warnings_of(pairs, self._splits, by_folders=not self._manifest.has_rows)

    def files(self, labelled: int) -> Files:
        """Return the numbers of the files, so many of which are labelled."""
        rejected = self.rejected.count - self._missing
        splits = dict(sorted(self._splits.items()))
        return Files(self._total, labelled, rejected, self._passed_over, self._manifests, splits)

    def _reject(self, path: str, reason: str) -> None:
        self._unusable.add(path.replace("\\", "/"))
        self.rejected.add(path, reason)

    def _nothing(self) -> Invalid:
        """Return the problem of an archive without an image that can be read."""
        if self._faulty:
            return Invalid(
                "unreadable_names",
                f"the names of {self._faulty} files cannot be used, and the archive holds no other "
                f"image: {self._first_fault}",
            )
        first = "; ".join(f"{item['path']}: {item['reason']}" for item in self.rejected.listed[:3])
        return Invalid(
            "no_images",
            f"the archive holds no readable image ({first or 'it is empty'})",
            rejected=self.rejected.listed[:20],
            num_rejected=self.rejected.count,
        )

    def _cause(self, rejected: list[dict[str, str]]) -> str:
        if self._manifest.has_rows and not self._manifest.labels:
            first = ": ".join(next(iter(self._manifest.rejected.items())))
            return f"the manifest gives no label that can be one ({first})"
        if self._manifest.has_rows:
            listed = next(iter(self._manifest.labels), None)
            some = f" (it lists {listed!r}, not {self._accepted[0].path!r})" if listed else ""
            return f"the manifest lists none of them{some}"
        tables = [
            item
            for item in self.rejected.listed
            if item["reason"].startswith(NO_MANIFEST) or manifests.must_be_manifest(item["path"])
        ]
        some = "; ".join(f"{item['path']}: {item['reason']}" for item in tables[:1] + rejected[:1])
        if not any("/" in image.path for image in self._accepted):
            return f"they are not in folders{f' ({some})' if tables else ''}"
        return f"their folders do not tell them ({some or 'see rejected'})"

    def _too_large(self, member: members.Member) -> str | None:
        if manifests.may_be_manifest(member.path) or member.size <= self._limits.max_image_bytes:
            return None
        return (
            f"the file has {member.size} bytes, "
            f"more than the {self._limits.max_image_bytes} allowed"
        )

    def _is_table(self, member: members.Member) -> bool:
        """Add the file's rows if it is a manifest; return False if it is no table at all."""
        max_bytes = manifests.MAX_MANIFEST_BYTES
        if member.size <= max_bytes:
            why = self._manifest.add(member.path, member.read())
            if why is None:
                self._manifests += 1
            else:
                self._reject(member.path, f"{NO_MANIFEST}: {why}")
            return True
        if not manifests.must_be_manifest(member.path):
            self._reject(
                member.path,
                f"a table of {member.size} bytes is not read: a manifest has {max_bytes} at most",
            )
            return True
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
            self._reject(checked.path, checked.reason)
            return
        self._writer.add(checked.sha256, checked.data)
        self._keep(AcceptedImage(checked.path, checked.sha256, checked.facts))

    def _follow(self, links: list[tuple[str, str]]) -> None:
        """Accept every hard link (its path, its target's) to an accepted image, as that image."""
        images = {image.path: image for image in self._accepted} if links else {}
        for path, target in links:
            if target in images:
                images[path] = images[target]._replace(path=path)
                self._keep(images[path])
            else:
                lost = "was rejected" if target in self._unusable else "the archive does not hold"
                self._reject(path, f"it is a hard link to {target!r}, which {lost}")

    def _keep(self, image: AcceptedImage) -> None:
        max_images = self._limits.max_dataset_images
        if len(self._accepted) == max_images:
            raise TooLarge(
                "too_many_images",
                f"the archive holds more than the {max_images} images allowed: "
                "split it into several datasets",
            )
        self._accepted.append(image)

    def _labels_from_folders(self) -> Iterator[str | None]:
        interned: dict[str, str] = {}
        paths = [image.path for image in self._accepted]
        in_masks = zip(paths, layouts.masks(paths), strict=True)
        faults = [_no_place(path, folder) for path, folder in in_masks]
        usable = [path for path, why in zip(paths, faults, strict=True) if why is None]
        places = layouts.placed(usable)
        for path, why in zip(paths, faults, strict=True):
            given, split = (None, None) if why else next(places)
            label = tidy(given or "")
            if not (why or label):
                why = f"its label {NO_LABEL if '/' in path else NO_FOLDER}"
            elif not why and (of_label := fault(label)):
                why = f"its label {of_label}"
            if why:
                self.rejected.add(path, why)
            elif split:
                self._splits[split] += 1
            yield None if why else interned.setdefault(label, label)

    def _labels_from_manifest(self) -> Iterator[str | None]:
        unmatched, faults = dict(self._manifest.labels), dict(self._manifest.rejected)
        for image in self._accepted:
            path = image.path.replace("\\", "/")  # as the manifest's own paths
            label = unmatched.pop(path, None)
            if label is None:
                reason = faults.pop(path, "the manifest does not list this image")
                self.rejected.add(image.path, reason)
            yield label
        for path in (*unmatched, *faults):
            self._add_missing(path, faults.get(path))

    def _add_missing(self, path: str, fault: str | None) -> None:
        """Tell of a row without an image, unless its file has been told of."""
        if path in self._unusable:
            return
        lacks = "the manifest lists this image, but the archive lacks it"
        added = "the manifest lists this file, but systems add files of this name: it is not read"
        self._missing += 1
        self.rejected.add(path, fault or (added if path in self._of_systems else lacks))


def _no_place(path: str, masks: str | None) -> str | None:
    """Return why an image cannot have its label from its folders, whatever they are."""
    if masks is not None:
        return f"it lies in {masks!r}, beside a folder of images: a mask of another task, perhaps"
    return HIDDEN if is_hidden(path) else None
