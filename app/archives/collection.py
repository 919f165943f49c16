"""The files of one archive, each with one outcome: labelled, rejected, passed over, a manifest."""

from collections import Counter
from collections.abc import Iterable
from typing import BinaryIO

from app.archives import labelling, layouts, manifests, members
from app.archives.entries import Limits
from app.archives.image_checks import CheckedFile, ImageChecks
from app.archives.label_warnings import warnings_of
from app.archives.outcomes import AcceptedImage, Files, LabelledFile, Rejected
from app.archives.packs import PackWriter
from app.errors import Invalid, TooLarge
from app.images.budget import Budget

FREE_PIXELS, PIXELS_PER_BYTE = 2 * 10**9, 200  # a photo has about 10 pixels per byte, a drawing 100
FREE_SECONDS, SECONDS_PER_BYTE = 60.0, 1e-6  # of a processor; photos take a tenth
NO_MANIFEST = "the table is not a manifest"


class Collection:
    """The accepted images of an archive, which are in the pack, and its rejected files."""

    def __init__(
        self,
        archive_bytes: int,
        writer: PackWriter,
        limits: Limits,
        code_page: str | None = None,
        *,
        has_labels: bool = True,
    ) -> None:
        """Without `has_labels` no file is a manifest: a table is rejected, as it is no image."""
        self.rejected = Rejected()
        self._code_page, self._has_labels = code_page, has_labels
        self._accepted: list[AcceptedImage] = []
        self._manifest = manifests.Manifest(limits.max_dataset_images)
        self._writer, self._limits = writer, limits
        self._pixels, self._max_pixels = 0, max(FREE_PIXELS, PIXELS_PER_BYTE * archive_bytes)
        seconds = FREE_SECONDS + SECONDS_PER_BYTE * archive_bytes
        self._budget = Budget(seconds, is_patient=True)
        self._total = self._passed_over = self._manifests = self._missing = 0
        self._faulty, self._first_fault = 0, ""  # entries that are unusable whatever they hold
        self._of_systems: set[str] = set()
        self._unusable: set[str] = set()  # paths of rejected files, as a manifest has them

    def read(self, file: BinaryIO) -> None:
        """Read the whole archive and write its accepted images to the pack."""
        self.take(members.members(file, self._limits, self._code_page))

    def take(self, files: Iterable[members.Member]) -> None:
        """Read all these files and write the accepted images to the pack."""
        links: list[tuple[str, str]] = []
        with ImageChecks(self._limits, self._accept, self._budget) as checks:
            for member in files:
                self._total += 1
                if member.is_system_file:
                    self._passed_over += 1
                    self._of_systems.add(manifests.as_listed(member.path))
                elif member.fault:
                    self._faulty += 1
                    self._first_fault = self._first_fault or f"{member.path}: {member.fault}"
                    self._reject(member.path, member.fault)
                elif member.target is not None:
                    links.append((member.path, member.target))
                elif why := self._too_large(member):
                    self._reject(member.path, why)
                elif not (self._may_be_manifest(member) and self._is_table(member)):
                    checks.add(member.path, member.read())
        self._follow(links)
        if not self._accepted:
            raise self._nothing()

    @property
    def images(self) -> list[AcceptedImage]:
        """The accepted images, labelled or not, in the archive's order."""
        return self._accepted

    def labelled(self) -> list[LabelledFile]:
        """Return the labelled images; reject the images without a label.

        Raises:
            Invalid: `duplicate_path`, `no_labels`.
            TooLarge: `too_many_labels`.
        """
        before = len(self.rejected.listed)
        if self._manifest.has_rows:
            self._check_rows()
            found = labelling.by_manifest(self._accepted, self._manifest, self.rejected)
        else:
            found = labelling.by_folders(self._accepted, self.rejected)
        labelled = [file for file in found if file is not None]
        self._add_missing_rows()
        if not labelled:
            cause = self._cause(self.rejected.listed[before:])
            raise Invalid(
                "no_labels",
                f"the archive has {len(self._accepted)} images without labels, as {cause}: "
                + layouts.WHAT_TO_DO,
            )
        count, max_labels = len({file.label for file in labelled}), self._limits.max_labels
        if count > max_labels:
            raise TooLarge(
                "too_many_labels",
                f"the archive has {count} labels, more than the {max_labels} allowed: "
                "name folders for labels, not for single images",
            )
        return labelled

    def warnings(self, labelled: list[LabelledFile]) -> list[str]:
        """Return what in labels and splits may not be as meant, a sentence each."""
        return warnings_of(labelled, by_folders=not self._manifest.has_rows)

    def files(self, labelled: list[LabelledFile]) -> Files:
        """Return the numbers of the files."""
        splits = Counter(file.folder for file in labelled if file.folder is not None)
        return Files(
            total=self._total,
            labelled=len(labelled),
            rejected=self.rejected.count - self._missing,
            passed_over=self._passed_over,
            manifests=self._manifests,
            splits=dict(sorted(splits.items())),
        )

    def _reject(self, path: str, reason: str) -> None:
        self._unusable.add(manifests.as_listed(path))
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

    def _may_be_manifest(self, member: members.Member) -> bool:
        return self._has_labels and manifests.may_be_manifest(member.path)

    def _too_large(self, member: members.Member) -> str | None:
        if self._may_be_manifest(member) or member.size <= self._limits.max_image_bytes:
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
                is_there = manifests.as_listed(target) in self._unusable
                lost = "was rejected" if is_there else "the archive does not hold"
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

    def _check_rows(self) -> None:
        """Refuse a row that may mean either of two files, of which one has a backslash in its name.

        Raises:
            Invalid: `duplicate_path`.
        """
        files = self._unusable.copy()
        for image in self._accepted:
            path = manifests.as_listed(image.path)
            if path in files and path in self._manifest.labels:
                raise Invalid(
                    "duplicate_path",
                    f"a manifest lists {path!r}, and that may mean either of two files, as "
                    "one has a backslash where the other has a slash: rename one of them",
                )
            files.add(path)

    def _add_missing_rows(self) -> None:
        """Tell of the manifest's rows whose image is not there."""
        rows, images = self._manifest, {manifests.as_listed(each.path) for each in self._accepted}
        for path in (*rows.labels, *rows.rejected):
            if path not in images:
                self._add_missing(path, rows.rejected.get(path))

    def _add_missing(self, path: str, fault: str | None) -> None:
        """Tell of a row without an image, unless its file has been told of."""
        if path in self._unusable:
            return
        lacks = "the manifest lists this image, but the archive lacks it"
        added = "the manifest lists this file, but systems add files of this name: it is not read"
        self._missing += 1
        self.rejected.add(path, fault or (added if path in self._of_systems else lacks))
