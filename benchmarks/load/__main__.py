"""Measures serving under load, beside the bare engine, a plain service and LitServe.

    make bench-load                (or: python -m benchmarks.load --help)

All systems run side by side on this machine and are idle until their turn; a round takes every cell
once, so that a ratio sees one machine. A process of its own sends the requests over loopback. The
systems compared with are installed below build/load/; where that fails their rows are left out.
"""

import argparse
import json
import os
import signal
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.load import extras, tables
from benchmarks.load.cells import DEFAULT, LITSERVE, PLAIN, SPACES, Cell, Served, cells_of
from benchmarks.load.readings import measure
from benchmarks.load.sending import ROOT
from benchmarks.load.systems import Systems

WIDE = 170  # of a file that is printed to
PARTS = ("changes", "readiness", "memory", "processor")
QUICK = replace(
    DEFAULT, batches=(32,), plain_batch=32, large=8, clients=(1, 8), clients_of_large=(1,)
)


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Serving under load.")
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    parser.add_argument("--cells", default="", help="cells whose name contains this text")
    parser.add_argument("--extras", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each cell in a round")
    parser.add_argument("--requests", type=int, default=10_000, help="for the growth of memory")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--photos", type=Path, help="tar of photographs; drawn ones without")
    parser.add_argument("--alone", action="store_true", help="without FastAPI + timm and LitServe")
    parser.add_argument("--quick", action="store_true", help="a look whether all of it works")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/load.json")
    args = parser.parse_args()
    if args.quick:
        args.spaces, args.alone, args.threads = ["default"], True, 1
        args.rounds, args.seconds, args.requests = 1, 0.6, 200
    return args


def main() -> None:
    """Measure, print the tables and write the document."""
    args, console = parsed(), Console(highlight=False)
    # The block below ends the systems, which would run on, or stay stopped, for ever.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    if not console.is_terminal:
        console.width = WIDE
    spaces = [QUICK] if args.quick else [SPACES[name] for name in args.spaces]
    with Systems(
        spaces,
        threads=args.threads,
        photos=args.photos,
        others=not args.alone,
        console=console,
        worker=not args.quick,
    ) as systems:
        document = {
            "machine": systems.engine.order("machine"),
            "rounds": args.rounds,
            "seconds": args.seconds,
            "photographs": "photographs of a tar" if args.photos else "drawn photographs",
            "readings": measure(
                systems, _cells(systems, args.cells), args.rounds, args.seconds, console.print
            ),
            "extras": {},
        }
        document["extras"] = measured_beside(systems, args, console)
    show(document, console)
    args.json.write_text(json.dumps(document, indent=2) + "\n")


def _cells(systems: Systems, pattern: str) -> list[Cell]:
    """Return the cells of all spaces whose systems are there and whose names are asked for."""
    found = []
    for served in systems.spaces:
        there = [each for each in (PLAIN, LITSERVE) if (served.name, each) in systems.servers]
        found += [cell for cell in cells_of(served, tuple(there)) if pattern in cell.name]
    return found


def measured_beside(systems: Systems, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the extras, on systems that are there; processor time on some with one thread."""
    if "default" not in args.spaces:
        return {}
    found: dict[str, Any] = {}
    if "changes" in args.extras:
        rest = args.seconds / 2
        clients = 4 if args.quick else 32
        found["changes"] = extras.changes_under_load(systems, clients, rest, train=not args.quick)
    if "readiness" in args.extras:
        clients = 30 if args.quick else extras.MANY_CLIENTS
        found["readiness"] = extras.readiness(systems, args.seconds, clients)
    if "memory" in args.extras:
        found["memory"] = extras.memory(systems, args.requests, 16)
    if "processor" in args.extras:
        with _of_one_thread(systems, console) as single:
            found["processor"] = extras.processor_time(single, args.seconds, 8)
    for part, figures in found.items():
        console.print(f"{part}: {json.dumps(figures)}", soft_wrap=True)
    return found


def _of_one_thread(systems: Systems, console: Console) -> Any:
    """Return systems with one thread each: these, or others that run while the block does."""
    if systems.threads == 1:
        return nullcontext(systems)
    default: list[Served] = [DEFAULT]
    return Systems(default, threads=1, photos=None, others=False, console=console, worker=False)


def show(document: dict[str, Any], console: Console) -> None:
    """Print the conditions and the tables."""
    console.print(tables.conditions(document))
    for head, *rows in tables.complete(document):
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    main()
