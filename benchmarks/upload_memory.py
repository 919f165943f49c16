"""Measures how much an upload grows the API process, and how long it takes.

    make bench-memory              (or: python -m benchmarks.upload_memory --help)

The real service is started on a data folder of its own, without a worker, and gets generated
archives over HTTP one after the other. The growth is from the resident memory before the first
upload to the peak during each one, as the kernel counts it. Child processes decode the images; the
largest sum of their memory that was seen is told beside it.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import uploads
from benchmarks.process_costs import MemoryWatch, cpu_seconds, of_children
from benchmarks.uploads import Case

TANGENT = (sys.executable, "-m", "app.cli")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
ALLOWED_MIB = 200
GIB = 2**30
MIB = 2**20


def main() -> int:
    """Print a table or JSON; 1 if an upload grew the process by more than is allowed."""
    parser = argparse.ArgumentParser(description="Memory and time of dataset uploads.")
    parser.add_argument("--bytes", type=int, default=2 * GIB, help="size of the large archives")
    parser.add_argument("--images", type=int, default=100_000, help="images of 32 px")
    parser.add_argument("--large", type=int, default=24, help="images of 48 megapixels")
    parser.add_argument("--folder", type=Path, help="where to work; needs three times --bytes")
    parser.add_argument("--quick", action="store_true", help="200 MB and 10,000 images")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    args = parser.parse_args()
    if args.quick:
        args.bytes, args.images, args.large = 200 * MIB, 10_000, 6
    cases = [
        uploads.small("zip", args.images),
        uploads.photos("tar", args.bytes),
        uploads.photos("zip", args.bytes),
        uploads.large("zip", args.large),
    ]
    console = Console(stderr=args.json, highlight=False)
    with tempfile.TemporaryDirectory(prefix="tangent-bench-", dir=args.folder) as folder:
        measured = measure(cases, Path(folder), console)
    result = {"machine": platform.machine(), "allowed_mib": ALLOWED_MIB, "uploads": measured}
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        console.print(table(measured))
    return 0 if all(each["growth_mib"] <= ALLOWED_MIB for each in measured) else 1


def measure(cases: list[Case], folder: Path, console: Console) -> list[dict[str, Any]]:
    """Each case's upload to one service."""
    with service(folder) as (process, url), httpx.Client(base_url=url, timeout=3600) as client:
        before = memory(process.pid, "VmRSS")
        found = []
        for case in cases:
            path = folder / "archive"
            images = case.write(path)
            console.print(f"{case.name}: {path.stat().st_size / MIB:.0f} MiB, {images} images …")
            found.append(upload(client, process.pid, before, case, path, images))
            path.unlink()
        return found


def upload(
    client: httpx.Client, pid: int, before: int, case: Case, path: Path, images: int
) -> dict[str, Any]:
    """Upload the archive once, watching the process; then delete the dataset."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
    with MemoryWatch(lambda: of_children(pid)) as children, path.open("rb") as file:
        began, worked = time.perf_counter(), cpu_seconds(pid)
        answer = client.post("/v1/datasets", files={"file": (path.name, file)})
        seconds, worked = time.perf_counter() - began, cpu_seconds(pid) - worked
    if answer.status_code != 201 or answer.json()["num_images"] != images:
        raise SystemExit(f"{case.name}: answered {answer.status_code}: {answer.text[:1000]}")
    peak = memory(pid, "VmHWM")
    client.delete(f"/v1/datasets/{answer.json()['id']}").raise_for_status()
    return {
        "name": case.name,
        "images": images,
        "archive_mib": round(path.stat().st_size / MIB),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(worked, 1),  # children's included
        "before_mib": round(before / 1024),
        "peak_mib": round(peak / 1024),
        "growth_mib": round((peak - before) / 1024),
        "children_mib": round(children.peak / MIB),
    }


def memory(pid: int, field: str) -> int:
    """A line of the process's status, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


@contextmanager
def service(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A service without a worker on a folder of its own, and its address."""
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*TANGENT, "serve", "--no-worker", "--port", "0", "--data-dir", folder / "data"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, _address(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(1200):
        found = ADDRESS.search(log.read_text(errors="replace"))
        if found:
            return found[0]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the service did not start; its log:\n{log.read_text(errors='replace')}")


def table(measured: list[dict[str, Any]]) -> Table:
    """Return the table of the measurements, one line an upload."""
    made = Table(title=f"Growth of the API process during uploads (allowed: {ALLOWED_MIB} MiB)")
    for name in (
        "upload",
        "MiB",
        "images",
        "seconds",
        "CPU s",
        "before",
        "peak",
        "growth",
        "children",
    ):
        made.add_column(name, justify="left" if name == "upload" else "right")
    for each in measured:
        values = (
            each["name"],
            each["archive_mib"],
            each["images"],
            each["seconds"],
            each["cpu_seconds"],
            each["before_mib"],
            each["peak_mib"],
            each["growth_mib"],
            each["children_mib"],
        )
        made.add_row(*map(str, values))
    return made


if __name__ == "__main__":
    raise SystemExit(main())
