"""Labels, splits and groups of an archive's images from a CSV or JSONL file that lists them.

metadata.csv  a/1.png  a/2.png    `file_name` and `label` of all images, by paths relative to the
                                  manifest's own folder; columns lie between commas, semicolons,
                                  tabs or bars; `split` and `group` may be there too
"""

import re
from pathlib import PurePosixPath
from typing import Any

from app.archives import splits, tables
from app.archives.members import DRIVE, safe_path
from app.archives.tables import FIELDS, Row, malformed, shown
from app.errors import Invalid, TooLarge
from tangent_composer.labels import fault, tidy

MAX_MANIFEST_BYTES = 16 * 2**20
MAX_ROWS_PER_IMAGE = 10  # of those that a dataset may have: several tables may list one image
ENDINGS = (".csv", ".tsv", *tables.JSON_ENDINGS)
NAMES = ("manifest", "metadata", "labels")  # other tables may be manifests
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def may_be_manifest(path: str) -> bool:
    """Return whether a file of this name may be a manifest."""
    return path.lower().endswith(ENDINGS)


def must_be_manifest(path: str) -> bool:
    """Return whether a table of this name can be nothing else."""
    return PurePosixPath(path).stem.lower() in NAMES


def as_listed(path: str) -> str:
    """Return a path as a manifest's rows have it: tables of Windows write a backslash for `/`."""
    return path.replace("\\", "/")


class Manifest:
    """The labels, splits and groups that an archive's manifests give to its paths."""

    def __init__(self, max_images: int) -> None:
        self.labels: dict[str, str] = {}
        self.splits: dict[str, str] = {}  # of the paths that have one
        self.groups: dict[str, str] = {}
        self.rejected: dict[str, str] = {}  # path -> reason why its row cannot be used
        self.has_rows = False
        self._max_images = max_images
        self._tables = tables.Reader(MAX_ROWS_PER_IMAGE * max_images)
        self._interned: dict[str, str] = {}  # one string per label, however many rows have it

    def add(self, path: str, data: bytes) -> str | None:
        """Add the rows of a CSV or JSONL file; if it is no manifest, return the reason.

        Raises:
            Invalid: `manifest_malformed`, `manifest_conflict`, `unsafe_path`.
            TooLarge: `too_many_images`, `manifest_too_large`.
        """
        certain = must_be_manifest(path)
        try:
            for row in self._tables.rows(path, data):
                if not all(name in row.fields for name in FIELDS):
                    raise malformed(path, row.number, tables.needed(row.fields))
                certain = self.has_rows = True
                self._add_row(path, row)
            if not certain:
                return "it lists no image"
            if not self.has_rows:
                raise malformed(path, 1, "it lists no image")
        except Invalid as error:
            if certain:
                raise
            return error.detail.removeprefix(f"{path}, ")
        return None

    def _add_row(self, path: str, row: Row) -> None:
        image, fields = self._image(path, row), row.fields
        label, why = read_label(fields["label"])
        if row.beyond:  # parts of the label, perhaps
            why = f"may go on: its line has more cells than the header ({shown(row.beyond)} …), "
            why += "so quote texts that have commas in them"
        what, split, group = "label", None, None
        if not why:
            what, (split, why) = "split", read_split(fields.get("split"))
        if not why:
            what, (group, why) = "group", read_group(fields.get("group"))
        given = {"label": label, "split": split or "", "group": group or ""}
        self._check_same(f"{path}, line {row.number},", image, {} if why else given)
        if why:
            self.rejected.setdefault(image, f"its {what} in {path}, line {row.number}, {why}")
            return
        self.labels[image] = self._interned.setdefault(label, label)
        if split:
            self.splits[image] = split
        if group:
            self.groups[image] = self._interned.setdefault(group, group)

    def _image(self, path: str, row: Row) -> str:
        """Return the path of the image that the row is of.

        Raises:
            Invalid: `manifest_malformed`, `unsafe_path`.
            TooLarge: `too_many_images`.
        """
        name = row.fields["file_name"]
        if not isinstance(name, str):
            raise malformed(path, row.number, f"its file_name is no text ({shown(name)})")
        if not name.strip():
            raise malformed(path, row.number, "its file_name is empty")
        try:
            image = _joined(path.split("/")[:-1], name.strip())
        except Invalid as error:
            raise Invalid(
                error.code,
                f"{path}, line {row.number}: its file_name {shown(name)!r} is no path within the "
                "archive, relative to the manifest's own folder",
            ) from None
        is_known = image in self.labels or image in self.rejected
        if not is_known and len(self.labels) + len(self.rejected) >= self._max_images:
            raise TooLarge(
                "too_many_images",
                f"{path} lists more than the {self._max_images} images allowed in one dataset",
            )
        return image

    def _check_same(self, where: str, image: str, given: dict[str, str]) -> None:
        """Refuse another row for an image that does not say the same; `given` is empty for a fault.

        Raises:
            Invalid: `manifest_conflict`.
        """
        if image not in self.rejected and image not in self.labels:
            return
        for name, found in (
            ("label", self.labels),
            ("split", self.splits),
            ("group", self.groups),
        ):
            one, other = given.get(name, ""), found.get(image, "")
            if one != other:
                raise Invalid(
                    "manifest_conflict",
                    f"{where} gives {image!r} the {name} {_or_none(one)}, another line "
                    f"{_or_none(other)}: list every image once",
                )


def _joined(folder: list[str], name: str) -> str:
    """Return the path in the archive of a name relative to the folder, which may lead up from it.

    Raises:
        Invalid: `unsafe_path` if the name leads out of the archive.
    """
    name = as_listed(name)
    if name.startswith("/") or DRIVE.match(name) or URL.match(name):
        raise Invalid("unsafe_path", f"{name!r} begins at a root")
    parts = folder.copy()
    for part in name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return safe_path("/".join(parts))


def read_label(value: Any) -> tuple[str, str | None]:
    """Return the label that a cell or a JSON value is and, if it is none, the end of a sentence.

    Whole numbers are labels, as are 0.0 and 1.0: pandas writes a column of integers so if a cell of
    it was empty once.
    """
    if value is None or value != value:  # NaN, as pandas writes a missing value
        return "", "is missing"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        kinds = {bool: "true or false", float: "a number with a fraction", list: "a list"}
        kind = kinds.get(type(value), "an object")
        return "", f"is {kind} ({shown(value)}): write it as a text, in quotes"
    label = tidy(value)
    return label, fault(label)


def read_split(value: Any) -> tuple[str | None, str | None]:
    """Return the split that a cell means, if any, and if it cannot be told the end of a sentence.

    A split that nobody knows is refused, as a component must not be trained on what may be a test.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None, None
    if isinstance(value, str) and splits.is_split(value.strip()):
        return splits.named(value.strip()), None
    return None, (
        f"is none of {', '.join(splits.SPLITS)} ({shown(value)}): write one of them, or leave the "
        "cell empty for an image to train on"
    )


def read_group(value: Any) -> tuple[str | None, str | None]:
    """Return the group that a cell tells, if any, and if it can be none the end of a sentence."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None, None
    group, why = read_label(value)
    return (None, why) if why else (group, None)


def _or_none(value: str) -> str:
    return repr(value) if value else "none"
