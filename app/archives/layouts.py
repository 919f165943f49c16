"""Labels for the images of an archive: from a manifest if there is one, else from folders.

cat/1.png  dog/2.png               the first folder is the label
pets/cat/1.png  pets/dog/2.png     a single root folder around everything is skipped
train/cat/1.png  test/dog/2.png    folders named for a split are skipped; the splits are merged
metadata.csv  a/1.png  a/2.png     a CSV or JSONL file with `file_name` and `label` gives the labels
                                   of all images, by paths relative to its own folder
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from app.archives.members import safe_path
from app.errors import Invalid, TooLarge
from tangent import labels

MAX_MANIFEST_BYTES = 16 * 2**20
MANIFEST_ENDINGS = (".csv", ".jsonl")
MANIFEST_NAMES = ("manifest", "metadata", "labels")  # other tables may be manifests
SPLITS = frozenset(
    ["train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"]
)


def may_be_manifest(path: str) -> bool:
    """Return whether a file of this name may be a manifest."""
    return path.lower().endswith(MANIFEST_ENDINGS)


class Manifest:
    """The labels that an archive's manifests give to its paths."""

    def __init__(self, max_rows: int) -> None:
        self.labels: dict[str, str] = {}
        self.rejected: dict[str, str] = {}  # path -> reason why its row cannot be used
        self.has_rows = False
        self._max_rows = max_rows
        self._interned: dict[str, str] = {}  # one string per label, however many rows have it

    def add(self, path: str, data: bytes) -> bool:
        """Add the rows of a CSV or JSONL file; return False if the table is not a manifest.

        Raises:
            Invalid: `manifest_malformed`, `manifest_conflict`, `unsafe_path`.
            TooLarge: `too_many_images`.
        """
        place = PurePosixPath(path)
        certain = place.stem.lower() in MANIFEST_NAMES
        rows = _json_rows(path, data) if place.suffix.lower() == ".jsonl" else _csv_rows(path, data)
        try:
            for number, row in rows:
                if "file_name" not in row or "label" not in row:
                    raise _malformed(path, number, "it needs the fields file_name and label")
                certain = self.has_rows = True
                self._add_row(path, number, place.parent, row)
            if not certain:
                return False
            if not self.has_rows:
                raise _malformed(path, 1, "it lists no image")
        except Invalid:
            if certain:
                raise
            return False
        return True

    def _add_row(self, path: str, number: int, folder: PurePosixPath, row: dict[str, Any]) -> None:
        if len(self.labels) + len(self.rejected) >= self._max_rows:
            raise TooLarge(
                "too_many_images",
                f"{path} lists more than the {self._max_rows} images allowed in one dataset",
            )
        name, label = row["file_name"], row["label"]
        if not isinstance(name, str) or not name:
            raise _malformed(path, number, "its file_name is empty")
        image = safe_path(str(folder / safe_path(name)))
        label = str(label) if type(label) is int else label
        fault = label_fault(label)
        if fault:
            self.rejected.setdefault(image, f"its label in {path}, line {number}, {fault}")
            return
        label = labels.tidy(label)
        label = self._interned.setdefault(label, label)
        if self.labels.setdefault(image, label) != label:
            raise Invalid(
                "manifest_conflict",
                f"{path}, line {number}, gives {image!r} the label {label!r}, "
                f"another line {self.labels[image]!r}: list every image once",
            )


def label_fault(label: Any) -> str | None:
    """Return why this cannot be a label, as the end of a sentence; None if it can."""
    if not isinstance(label, str):
        return "is empty or not text"
    return labels.fault(labels.tidy(label))


def folder_labels(paths: Iterable[str]) -> Iterator[str | None]:
    """Return the label of every path, from its folders; None for a path without a folder.

    Raises:
        Invalid: `ambiguous_layout` if a folder around everything holds both images and folders.
    """
    skip = 0
    while _is_wrapper(paths, skip):
        skip += 1
    parts = (path.split("/") for path in paths)
    return (part[skip] if len(part) > skip + 1 else None for part in parts)


def _is_wrapper(paths: Iterable[str], skip: int) -> bool:
    """Return whether the folders at this depth are not labels: one root folder, or splits."""
    names: set[str] = set()
    direct = deeper = None
    for path in paths:
        part = path.split("/")
        if len(part) <= skip + 1:
            continue  # an image without a folder has no label at any depth
        names.add(part[skip])
        if len(part) == skip + 2:
            direct = path
        else:
            deeper = path
    if not names or not (len(names) == 1 or all(name.lower() in SPLITS for name in names)):
        return False
    if direct and deeper:
        raise Invalid(
            "ambiguous_layout",
            f"images lie both in a folder ({direct!r}) and in folders within it ({deeper!r}): put "
            "every image in a folder named for its label, with no folders in it, or add a "
            "metadata.csv with the columns file_name and label",
        )
    return deeper is not None


def _malformed(path: str, number: int, what: str) -> Invalid:
    return Invalid("manifest_malformed", f"{path}, line {number}: {what}")


def _lines(path: str, data: bytes) -> Iterator[str]:
    try:
        yield from io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    except UnicodeDecodeError as error:
        raise Invalid("manifest_malformed", f"{path} is not in UTF-8: save it as UTF-8") from error


def _csv_rows(path: str, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(_lines(path, data), restkey="", restval="", skipinitialspace=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise _malformed(path, reader.line_num + 1, str(error)) from error


def _json_rows(path: str, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(path, data), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _malformed(path, number, f"it is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise _malformed(path, number, "it is not a JSON object")
        yield number, row
