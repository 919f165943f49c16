"""The tables of a measurement: rows are methods, columns are protocols."""

from collections.abc import Sequence

from rich.table import Table

from benchmarks.accuracy.outcome import Record, where
from benchmarks.accuracy.protocols import NAMES
from benchmarks.accuracy.reaches import Reach, groups

Rows = list[list[str]]


def tables(records: Sequence[Record]) -> list[Table]:
    """One for each set of images and backbone."""
    return [_table(group) for group in groups(records)]


def _table(group: Sequence[Record]) -> Table:
    first = group[0]
    shown = Table(title=f"{first.pictures}, {first.backbone}", title_justify="left")
    head, *rows = grid(group, columns(group))
    for i, name in enumerate(head):
        words = name.replace("-incremental", "-\nincremental").replace(", T", "\nT")
        shown.add_column(words, justify="left" if i < 2 else "right")
    for row in rows:
        shown.add_row(*row)
    return shown


def columns(records: Sequence[Record]) -> list[tuple[str, int]]:
    """The protocols measured, with their parties."""
    found = {(record.protocol, record.parties) for record in records}
    return sorted(found, key=lambda each: (NAMES.index(each[0]), each[1]))


def grid(records: Sequence[Record], of: Sequence[tuple[str, int]]) -> Rows:
    """The table's cells, the head first; accuracies in percent, the passes of one answer."""
    rows = [["scope", "method", *(f"{name}, T = {parties}" for name, parties in of)]]
    for scope, method in dict.fromkeys((record.scope, record.method) for record in records):
        row = [scope, method]
        for protocol, parties in of:
            found = where(records, scope=scope, method=method, protocol=protocol, parties=parties)
            row.append(found[0].shown if found else "")
        rows.append(row)
    return rows


def reached(reaches: Sequence[Reach]) -> Table:
    """Aims next to what was measured."""
    shown = Table(title="aimed at, and measured", title_justify="left", show_lines=True)
    for name in ("aim", "wanted", "measured", ""):
        shown.add_column(name)
    for reach in reaches:
        shown.add_row(reach.aim, reach.wanted, reach.measured, reach.verdict)
    return shown


def markdown(rows: Rows) -> str:
    """A table whose first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)
