"""Prints figures of the code's structure next to their reaches, or draws its rooms.

    make structure                 (or: python -m benchmarks.structure --help)

A room of a package is a module or a package directly in it. An arrow leads from a room to another
that it imports. A request's modules are those that it enters on a live service, its hops the calls
from one of them into another; threads that work by a clock, without any request, are left out. Two
components are trained first, by a worker that has then ended.
"""

import argparse
from pathlib import Path

from benchmarks.structure.calls import Trips
from benchmarks.structure.figures import figures, packages, remarks
from benchmarks.structure.picture import picture, rendered
from benchmarks.structure.sources import ROOT

FIGURES = ["figure", "now", "reach", "reached"]
PACKAGES = ["package", "loose modules", "rooms", "arrows", "storeys", "upward", "circles"]


def main() -> None:
    """Print the tables, or print or write the picture."""
    parser = argparse.ArgumentParser(description="The structure of the code in figures.")
    parser.add_argument("--quick", action="store_true", help="without the traced requests")
    parser.add_argument(
        "--picture",
        nargs="?",
        const="-",
        metavar="PAGE",
        help="draw rooms and arrows instead: between the markers of a page, or print them",
    )
    args = parser.parse_args()
    if args.picture == "-":
        print(picture())
    elif args.picture:
        page = Path(args.picture)
        page.write_text(rendered(page.read_text()))
    else:
        found = figures(ROOT, None if args.quick else _trips())
        print(table([FIGURES, *(figure.row for figure in found)]), end="\n\n")
        print(table([PACKAGES, *packages(ROOT)]), end="\n\n")
        print(*remarks(ROOT), sep="\n")


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table with columns of even width; the first row is the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _trips() -> Trips:
    from benchmarks.structure.requests import trips  # with torch and the whole service

    return trips()


if __name__ == "__main__":
    main()
