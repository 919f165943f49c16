"""Tries private services with hostile requests, halts at named steps, and kills.

    make battery                                    on SQLite and on Postgres, half an hour
    make battery ARGS="--quick"                     a part of it, in two minutes
    make battery ARGS="--parts kills --kills 100"   kills at random moments only

The services run on loopback with temporary data folders and, on Postgres, with databases that are
made and dropped here. Every reach that is missed has its sentence at the end, and the exit status
is 1: too much memory, a request or a deletion that waits too long, an answer 5xx other than 503 and
507, a file left behind, an acknowledged change that is lost. `--print-times` prints waits without
judging them. `--save` keeps the figures for docs/operations.md (`make measured` writes them there).
"""

import argparse
import os
import tempfile
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.battery import databases, figures, halts, hostile, kills
from benchmarks.battery.answers import unhonest
from benchmarks.battery.inputs import QUICK, every_input
from benchmarks.battery.steps import STEPS

PARTS = ("hostile", "halts", "kills")
COLUMNS = ("input", "answer", "MB", "longest wait s", "deletion s", "failures", "left", "others")


def main() -> int:
    """Print what is found; return 1 if a reach is missed."""
    args = _arguments()
    console = Console(highlight=False)
    missed: list[str] = []
    for kind in args.on:
        try:
            with (
                tempfile.TemporaryDirectory(prefix="tangent-battery-") as folder,
                hostile.Busy() as busy,
            ):
                found = Run(kind, Path(folder), args, console)
                found.all()
        except psycopg.OperationalError as error:
            if os.environ.get("CI") == "true":
                raise SystemExit(f"no Postgres answers at {args.server}: {error}") from None
            console.print(f"left out: no Postgres answers at {args.server}: {error}")
            continue
        missed += found.missed
        if args.save:
            figures.save(kind, found.figures | {"others": busy.others})
    for sentence in missed:
        console.print(sentence)
    console.print(f"{len(missed)} reaches missed" if missed else "every reach was held")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.battery", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument("--on", nargs="+", choices=databases.KINDS, default=databases.KINDS)
    parser.add_argument("--server", default=databases.SERVER, help="URL of a Postgres server")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only", default="", help="inputs whose name contains this text")
    parser.add_argument("--kills", type=int, help="number of kills on each database")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--print-times", action="store_true", help="do not judge waits")
    parser.add_argument("--save", action="store_true", help="keep the figures")
    args = parser.parse_args()
    if args.kills is None:
        args.kills = 2 if args.quick else 20
    return args


class Run:
    """The battery on one kind of database."""

    def __init__(self, kind: str, folder: Path, args: argparse.Namespace, console: Console) -> None:
        self.kind, self.folder, self.args, self.console = kind, folder, args, console
        self.missed: list[str] = []
        self.figures: dict[str, object] = {}

    def all(self) -> None:
        """Run the chosen parts, each on a store of its own."""
        losses = 0
        for part in self.args.parts:
            place = self.folder / part
            place.mkdir()
            with databases.made(self.kind, self.args.server) as database:
                before = len(self.missed)
                getattr(self, part)(place / "data", database)
                if part != "hostile":
                    losses += len(self.missed) - before
        self.figures["losses"] = losses

    def hostile(self, folder: Path, database: str | None) -> None:
        """Send the hostile inputs."""
        chosen = {
            name: send
            for name, send in every_input().items()
            if self.args.only in name and (name in QUICK or not self.args.quick)
        }
        table = Table(*COLUMNS, title=self.kind)

        def say(outcome: hostile.Outcome) -> None:
            table.add_row(*outcome.row())
            sentences = list(outcome.missed(timed=not self.args.print_times))
            self.missed += [f"{self.kind}, {outcome.name}: {each}" for each in sentences]
            self.console.print(*outcome.row(), "held" if not sentences else "missed", sep=" | ")

        found = hostile.run(folder, database, chosen, 4 if self.args.quick else 70, say)
        self.console.print(table)
        self.figures |= {
            "inputs": len(found),
            "memory_gb": max(each.memory for each in found) / 1e9,
            "wait": max(each.wait for each in found),
            "deletion": max(each.deletion for each in found),
            "unhonest": sum(unhonest(each.answers) or unhonest(each.failures) for each in found),
            "left": sum(each.left for each in found),
        }

    def halts(self, folder: Path, database: str | None) -> None:
        """Halt a service at named steps."""
        steps = STEPS[::6] if self.args.quick else STEPS
        self._note(halts.run(folder, database, steps, self.args.seed, self._say))
        self.figures["halts"] = len(halts.SIGNALS) * len(steps)

    def kills(self, folder: Path, database: str | None) -> None:
        """Kill API and worker at random moments."""
        self._note(kills.run(folder, database, self.args.kills, self.args.seed, self._say))
        self.figures["kills"] = self.args.kills
        self._say(f"{self.args.kills} kills, seed {self.args.seed}")

    def _note(self, faults: list[str]) -> None:
        self.missed += [f"{self.kind}, {fault}" for fault in faults]

    def _say(self, text: str) -> None:
        self.console.print(f"{self.kind}: {text}")


if __name__ == "__main__":
    raise SystemExit(main())
