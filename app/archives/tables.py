"""The tables of an archive, row by row: CSV, or JSON with one object a line.

    reader = Reader(max_rows)
    for row in reader.rows(path, data): row.fields["label"]

The work is linear in the characters, and those of all tables of an archive are bounded, as some
thousand tables of any size pack to a few bytes each.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from app.errors import Invalid, TooLarge
from app.images import file_kinds

MAX_CHARACTERS = 64 * 2**20  # of all rows that are read; headers of what is no manifest count too
MAX_ROW = 2**20  # characters; JSON takes 30 bytes of memory for one, if it is made for that
MAX_COLUMNS = 10_000
MAX_SHOWN = 60  # characters of what a person wrote, in a message
FIELDS = ("file_name", "label")
KNOWN = (*FIELDS, "split", "group")
JSON_ENDINGS = (".jsonl", ".ndjson")
DELIMITERS = ",;\t|"


class Row(NamedTuple):
    """A row that is not blank."""

    number: int  # of its last line
    fields: dict[str, Any]  # of a CSV the known ones alone
    beyond: str = ""  # the first cell beyond the header that is not blank


class Reader:
    """Reads the tables of one archive; counts their rows and characters together."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows, self._rows, self._characters = max_rows, 0, 0
        self._of_row = 0  # characters

    def rows(self, path: str, data: bytes) -> Iterator[Row]:
        """Yield the rows of a table.

        Raises:
            Invalid: `manifest_malformed`.
            TooLarge: `manifest_too_large`, by all rows or characters up to here.
        """
        is_json = path.lower().endswith(JSON_ENDINGS)
        for row in (_json_rows if is_json else _csv_rows)(path, self._lines(path, data)):
            self._of_row = 0
            if row is None:
                continue
            self._rows += 1
            if self._rows > self._max_rows:
                raise _too_large(path, f"{self._max_rows} rows", "list every image once")
            yield row

    def _lines(self, path: str, data: bytes) -> Iterator[str]:
        self._of_row = 0
        encoding = json.detect_encoding(data[:4])  # any of Unicode, with a mark or without
        text = io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="")
        try:
            for number, line in enumerate(iter(partial(text.readline, MAX_ROW + 1), ""), 1):
                self._of_row += len(line)
                self._characters += len(line)
                if self._of_row > MAX_ROW:
                    raise malformed(path, number, f"its row has more than {MAX_ROW} characters")
                if self._characters > MAX_CHARACTERS:
                    what = f"{MAX_CHARACTERS} characters"
                    raise _too_large(path, what, "leave out columns and other tables")
                yield line
        except UnicodeError as error:
            what = "is not in UTF-8: save it as UTF-8"
            if kind := file_kinds.archive(data[: file_kinds.HEAD]):
                what = f"is no table but a {kind}, as a spreadsheet's own file may be: "
                what += "save it as CSV"
            raise Invalid("manifest_malformed", f"{path} {what}") from error


def _too_large(path: str, what: str, advice: str) -> TooLarge:
    return TooLarge(
        "manifest_too_large",
        f"the archive's tables up to {path} have more than the {what} that are read: {advice}",
    )


def malformed(path: str, number: int, what: str) -> Invalid:
    """Return the problem of a table's line."""
    return Invalid("manifest_malformed", f"{path}, line {number}: {what}")


def needed(names: Iterable[str]) -> str:
    """Return the sentence on a table that lacks one of the fields, and has these."""
    has = ", ".join(shown(name) for name in islice(names, 8) if name) or "none"
    return f"it needs the fields file_name and label, and has {has}"


def shown(value: Any) -> str:
    """Return the beginning of a value, which may be nested deeper than it can be written whole."""
    pieces = [value] if isinstance(value, str) else json.JSONEncoder().iterencode(value)
    text = "".join(islice(pieces, MAX_SHOWN + 1))  # no piece is empty
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _csv_rows(path: str, lines: Iterator[str]) -> Iterator[Row | None]:
    """Yield the rows; None for the header and for blank ones."""
    first, skipped, delimiter = next(lines, ""), 0, ""
    while first and not first.strip():
        first, skipped = next(lines, ""), skipped + 1
    if first.lower().startswith("sep=") and len(first.strip()) == len("sep=") + 1:  # Excel's own
        delimiter, first, skipped = first[len("sep=")], next(lines, ""), skipped + 1
    delimiter = delimiter or _delimiter(first)
    reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True)
    try:
        header = next(reader, [])
        yield None
        names = _names(path, 1 + skipped, header)
        places = {name: names.index(name) for name in KNOWN if name in names}
        for cells in reader:
            if not any(cell.strip() for cell in cells):  # spreadsheets write rows of commas alone
                yield None
                continue
            if not places.keys() >= set(FIELDS):
                raise malformed(path, 1 + skipped, needed(names))
            fields = {n: cells[at] if at < len(cells) else "" for n, at in places.items()}
            beyond = next((cell for cell in cells[len(names) :] if cell.strip()), "")
            yield Row(reader.line_num + skipped, fields, beyond)
    except csv.Error as error:
        raise malformed(path, reader.line_num + skipped, str(error)) from error


def _names(path: str, number: int, header: list[str]) -> list[str]:
    if len(header) > MAX_COLUMNS:
        what = f"it has {len(header)} columns, more than the {MAX_COLUMNS} that are read"
        raise malformed(path, number, f"{what}: leave out all but {', '.join(KNOWN)}")
    names = [_name(cell) for cell in header]
    if twice := [name for name in KNOWN if names.count(name) > 1]:
        raise malformed(path, number, f"it has two columns called {twice[0]}")
    return names


def _delimiter(header: str) -> str:
    """Return the delimiter between which the header has both fields, else the comma."""
    for delimiter in DELIMITERS:
        cells = header.split(delimiter, MAX_COLUMNS)
        if set(FIELDS) <= {_name(cell.strip().strip('"')) for cell in cells}:
            return delimiter
    return ","


def _name(cell: str) -> str:
    name = cell.strip()
    return name.lower() if name.lower() in KNOWN else name


def _json_rows(path: str, lines: Iterator[str]) -> Iterator[Row | None]:
    """Yield the rows; None for blank ones."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield None
            continue
        try:
            row = json.loads(line, object_pairs_hook=_distinct)
        except Invalid:
            raise malformed(path, number, "it has file_name, split, group or label twice") from None
        except (ValueError, RecursionError) as error:
            what = f"it is not JSON ({error}): write one object a line, with no commas between them"
            raise malformed(path, number, what) from error
        if not isinstance(row, dict):
            raise malformed(path, number, "it is not a JSON object")
        yield Row(number, row)


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in members if name in KNOWN]
    if len(names) > len(set(names)):
        raise Invalid("manifest_malformed", "a field is there twice")
    return dict(members)
