"""Labels, splits and groups of an archive's images from a CSV or JSONL file that lists them.

metadata.csv  a/1.png  a/2.png    `file_name` and `label` of all images, by paths relative to the
                                  manifest's own folder; columns lie between commas, semicolons,
                                  tabs or bars; `split` and `group` may be there too
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from app.archives import splits
from app.archives.members import DRIVE, safe_path
from app.errors import Invalid, TooLarge
from app.images import file_kinds
from tangent_composer.labels import fault, tidy

MAX_MANIFEST_BYTES = 16 * 2**20
MAX_SHOWN = 60  # characters of what a person wrote, in a message
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
NAMES = ("manifest", "metadata", "labels")  # other tables may be manifests
FIELDS = ("file_name", "label")
KNOWN = (*FIELDS, "split", "group")
DELIMITERS = ",;\t|"
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
Rows = Iterator[tuple[int, dict[str, Any], list[str]]]  # line, fields, cells beyond the header


def may_be_manifest(path: str) -> bool:
    """Return whether a file of this name may be a manifest."""
    return path.lower().endswith(ENDINGS)


def must_be_manifest(path: str) -> bool:
    """Return whether a table of this name can be nothing else."""
    return PurePosixPath(path).stem.lower() in NAMES


class Manifest:
    """The labels, splits and groups that an archive's manifests give to its paths."""

    def __init__(self, max_rows: int) -> None:
        self.labels: dict[str, str] = {}
        self.splits: dict[str, str] = {}  # of the paths that have one
        self.groups: dict[str, str] = {}
        self.rejected: dict[str, str] = {}  # path -> reason why its row cannot be used
        self.has_rows = False
        self._max_rows = max_rows
        self._interned: dict[str, str] = {}  # one string per label, however many rows have it

    def add(self, path: str, data: bytes) -> str | None:
        """Add the rows of a CSV or JSONL file; if it is no manifest, return the reason.

        Raises:
            Invalid: `manifest_malformed`, `manifest_conflict`, `unsafe_path`.
            TooLarge: `too_many_images`.
        """
        place = PurePosixPath(path)
        certain = must_be_manifest(path)
        is_json = place.suffix.lower() in (".jsonl", ".ndjson")
        rows = _json_rows(path, data) if is_json else _csv_rows(path, data)
        try:
            for number, row, beyond in rows:
                if not all(name in row for name in FIELDS):
                    raise _malformed(path, number, _needed(row))
                certain = self.has_rows = True
                self._add_row(path, number, place.parent, row, beyond)
            if not certain:
                return "it lists no image"
            if not self.has_rows:
                raise _malformed(path, 1, "it lists no image")
        except Invalid as error:
            if certain:
                raise
            return error.detail.removeprefix(f"{path}, ")
        return None

    def _add_row(
        self, path: str, number: int, folder: PurePosixPath, row: dict[str, Any], beyond: list[str]
    ) -> None:
        if len(self.labels) + len(self.rejected) >= self._max_rows:
            raise TooLarge(
                "too_many_images",
                f"{path} lists more than the {self._max_rows} images allowed in one dataset",
            )
        name = row["file_name"]
        if not isinstance(name, str):
            raise _malformed(path, number, f"its file_name is no text ({_shown(name)})")
        if not name.strip():
            raise _malformed(path, number, "its file_name is empty")
        try:
            image = _joined(folder, name.strip())
        except Invalid as error:
            raise Invalid(
                error.code,
                f"{path}, line {number}: its file_name {_shown(name)!r} is no path within the "
                "archive, relative to the manifest's own folder",
            ) from None
        label, why = read_label(row["label"])
        if beyond:  # parts of the label, perhaps
            why = f"may go on: its line has more cells than the header ({_shown(beyond[0])} …), "
            why += "so quote texts that have commas in them"
        what, split, group = "label", None, None
        if not why:
            what, (split, why) = "split", read_split(row.get("split"))
        if not why:
            what, (group, why) = "group", read_group(row.get("group"))
        given = {"label": label, "split": split or "", "group": group or ""}
        self._check_same(f"{path}, line {number},", image, {} if why else given)
        if why:
            self.rejected.setdefault(image, f"its {what} in {path}, line {number}, {why}")
            return
        self.labels[image] = self._interned.setdefault(label, label)
        if split:
            self.splits[image] = split
        if group:
            self.groups[image] = self._interned.setdefault(group, group)

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


def _joined(folder: PurePosixPath, name: str) -> str:
    """Return the path in the archive of a name relative to the folder, which may lead up from it.

    Raises:
        Invalid: `unsafe_path` if the name leads out of the archive.
    """
    name = name.replace("\\", "/")
    if name.startswith("/") or DRIVE.match(name) or URL.match(name):
        raise Invalid("unsafe_path", f"{name!r} begins at a root")
    parts: list[str] = []
    for part in (*folder.parts, *name.split("/")):
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
        return "", f"is {kind} ({_shown(value)}): write it as a text, in quotes"
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
        f"is none of {', '.join(splits.SPLITS)} ({_shown(value)}): write one of them, or leave the "
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


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _needed(names: Iterable[str]) -> str:
    has = ", ".join(_shown(name) for name in list(names)[:8] if name) or "none"
    return f"it needs the fields file_name and label, and has {has}"


def _malformed(path: str, number: int, what: str) -> Invalid:
    return Invalid("manifest_malformed", f"{path}, line {number}: {what}")


def _lines(path: str, data: bytes) -> Iterator[str]:
    encoding = json.detect_encoding(data[:4])  # any of Unicode, with a mark or without
    try:
        yield from io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="")
    except UnicodeError as error:
        what = "is not in UTF-8: save it as UTF-8"
        if kind := file_kinds.archive(data[: file_kinds.HEAD]):
            what = f"is no table but a {kind}, as a spreadsheet's own file may be: save it as CSV"
        raise Invalid("manifest_malformed", f"{path} {what}") from error


def _csv_rows(path: str, data: bytes) -> Rows:
    lines = _lines(path, data)
    first, skipped, delimiter = next(lines, ""), 0, ""
    while first and not first.strip():
        first, skipped = next(lines, ""), skipped + 1
    if first.lower().startswith("sep=") and len(first.strip()) == len("sep=") + 1:  # Excel's own
        delimiter, first, skipped = first[len("sep=")], next(lines, ""), skipped + 1
    delimiter = delimiter or _delimiter(first)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True)
    try:
        names = _names(next(reader, []))
        if twice := [name for name in KNOWN if names.count(name) > 1]:
            raise _malformed(path, 1 + skipped, f"it has two columns called {twice[0]}")
        for cells in reader:
            if any(cell.strip() for cell in cells):  # spreadsheets write rows of commas alone
                if not set(FIELDS) <= set(names):
                    raise _malformed(path, 1 + skipped, _needed(names))
                row = dict.fromkeys(names, "") | dict(zip(names, cells, strict=False))
                beyond = [cell for cell in cells[len(names) :] if cell.strip()]
                yield reader.line_num + skipped, row, beyond
    except csv.Error as error:
        raise _malformed(path, reader.line_num + skipped, str(error)) from error


def _delimiter(header: str) -> str:
    """Return the delimiter between which the header has both fields, else the comma."""
    for delimiter in DELIMITERS:
        cells = (cell.strip().strip('"') for cell in header.split(delimiter))
        if set(FIELDS) <= set(_names(cells)):
            return delimiter
    return ","


def _names(cells: Iterable[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    return [name.lower() if name.lower() in KNOWN else name for name in names]


def _json_rows(path: str, data: bytes) -> Rows:
    for number, line in enumerate(_lines(path, data), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_distinct)
        except Invalid:
            raise _malformed(
                path, number, "it has file_name, split, group or label twice"
            ) from None
        except (ValueError, RecursionError) as error:
            what = f"it is not JSON ({error}): write one object a line, with no commas between them"
            raise _malformed(path, number, what) from error
        if not isinstance(row, dict):
            raise _malformed(path, number, "it is not a JSON object")
        yield number, row, []


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in members if name in KNOWN]
    if len(names) > len(set(names)):
        raise Invalid("manifest_malformed", "a field is there twice")
    return dict(members)
