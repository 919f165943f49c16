"""Tries a private service with hostile requests beside an honest client, then with kills.

    python -m benchmarks.battery --quick        about two minutes
    python -m benchmarks.battery --kills 40 --postgres postgresql://postgres@127.0.0.1:5432/empty

The service runs on loopback with a temporary data folder. The exit status is 1 if the API and its
children take more memory than allowed, another's request waits longer than allowed, an answer is a
5xx other than 503 and 507, something is left over, or an acknowledged change is lost by a kill.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from app.demo import digits
from benchmarks.battery import kills
from benchmarks.battery.honest import Honest
from benchmarks.battery.inputs import Hostile, Target, every_input, png
from benchmarks.battery.processes import Process
from benchmarks.process_costs import MemoryWatch, of_family

MAX_MEMORY = 1.5e9  # bytes of the API and its children
MAX_WAIT = 2.0  # seconds of another's request
COLUMNS = ("input", "answer", "peak MB", "longest wait s", "others' failures", "left", "verdict")
UNHONEST = re.compile(r"\b5(?!03|07)\d\d\b")


def main() -> int:
    """Print a table; return 1 if a reach is missed."""
    parser = argparse.ArgumentParser(description="Hostile requests and kills on a real service.")
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument("--patience", type=float, default=1.0, help="factor for loaded machines")
    parser.add_argument("--kills", type=int, help="number of kills on each database")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--postgres", metavar="URL", help="an empty database, for kills too")
    parser.add_argument("--only", default="", help="inputs whose name contains this text")
    args = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="tangent-battery-") as folder:
        missed = hostile(Path(folder), console, args)
        count = args.kills if args.kills is not None else 2 if args.quick else 20
        for database in (None, args.postgres) if args.postgres else (None,):
            place = Path(folder) / ("killed" if database is None else "killed-postgres")
            place.mkdir()
            faults = kills.run(place / "data", database, count, args.seed)
            name = "Postgres" if database else "SQLite"
            console.print(f"{count} kills on {name}, seed {args.seed}: {len(faults)} faults")
            console.print("\n".join(faults), end="\n" if faults else "")
            missed += len(faults)
    return 1 if missed else 0


def hostile(folder: Path, console: Console, args: argparse.Namespace) -> int:
    """Send every input and print the table; return the number that miss a reach."""
    (folder / "hostile").mkdir()
    data = folder / "hostile" / "data"
    target = prepared(data, hold=8 if args.quick else 70)
    service = Process(data, database=None, worker=False)
    table, missed = Table(*COLUMNS), 0
    try:
        target = target._replace(url=service.url)
        for name, send in every_input().items():
            if args.only in name:
                row = tried(service, target, send, args.patience)
                missed += row[-1] != "held"
                table.add_row(name, *row)
                console.print(name, *row, sep=" | ")
        if not service.end():
            missed += 1
            console.print("the service did not end by itself within 40 s")
    finally:
        service.kill()
    console.print(table)
    return missed


def tried(service: Process, target: Target, send: Hostile, patience: float) -> list[str]:
    """Send one input beside an honest client; return the row of it."""
    before = _files(service.folder)
    with (
        MemoryWatch(lambda: of_family(service.pid)) as memory,
        Honest(service.url) as honest,
    ):
        time.sleep(1)
        answer = send(target)
    for _ in range(20):
        left = _files(service.folder) - before
        if not left:
            break
        time.sleep(0.5)
    failures = ", ".join(f"{n} × {text}" for text, n in honest.answers.items())
    missed = [
        *(["memory"] if memory.peak > MAX_MEMORY else []),
        *(["wait"] if honest.longest > MAX_WAIT * patience else []),
        *(["5xx"] if UNHONEST.search(answer + failures) else []),
        *(["left"] if left else []),
        *(["failures"] if failures else []),
    ]
    figures = (f"{memory.peak / 1e6:.0f}", f"{honest.longest:.1f}", failures, str(len(left)))
    return [answer, *figures, " ".join(missed) or "held"]


def prepared(data: Path, hold: float) -> Target:
    """Store a ready component, a queued one and a dataset of large images."""
    service = Process(data, database=None, worker=True)
    try:
        with httpx.Client(base_url=service.url, timeout=120, trust_env=False) as client:
            training, _ = digits.load(5)
            ready = _uploaded(client, digits.archive(training, "01"), train="true")["component"]
            large = [
                digits.Digit(label, n, png(7000 + n, 7000)) for n in range(3) for label in "ab"
            ]
            dataset = _uploaded(client, digits.archive(large, "ab"))["id"]
            images = client.get(f"/v1/datasets/{dataset}/images").json()["data"]
            until = time.monotonic() + 180
            path = f"/v1/components/{ready['id']}"
            while client.get(path).json()["status"] != "ready":
                if time.monotonic() > until:
                    raise SystemExit("the component was not ready within 180 s")
                time.sleep(0.5)
    finally:
        service.end()
    service = Process(data, database=None, worker=False)
    try:
        with httpx.Client(base_url=service.url, timeout=120, trust_env=False) as client:
            queued = _uploaded(client, digits.archive(training, "45"), train="true")["component"]
    finally:
        service.end()
    ids = [each["id"] for each in images]
    return Target("", ready["id"], queued["id"], dataset, ids, hold)


def _uploaded(client: httpx.Client, archive: bytes, **fields: str) -> dict:
    file = {"file": ("a.zip", archive, "application/zip")}
    return client.post("/v1/datasets", files=file, data=fields).raise_for_status().json()


def _files(data: Path) -> set[Path]:
    """Return the files of the data folder, without those of the database."""
    return {path for path in data.rglob("*") if path.is_file() and path.parent != data}


if __name__ == "__main__":
    raise SystemExit(main())
