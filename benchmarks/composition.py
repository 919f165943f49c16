"""Measures what composing costs next to reading the components' bytes once.

    make bench-composition         (or: python -m benchmarks.composition --help)

Component files with as many parameters as ViT-S lie in a temporary folder and in the page cache.
All ways run in this process, in turn, round after round; a ratio is that of two medians. A way that
starts from files maps them anew each time, as the service does; a removal starts from what is held
in memory. Both are measured with fresh result vectors, for a delta being served is not overwritten.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.interleaved import RESULTS, finish, machine
from tangent.components.component import BACKBONE, Component
from tangent.components.delta import Delta
from tangent.components.file_header import header_of
from tangent.components.mapped_tensors import empty, flat, mapped
from tangent.composition import exact_sum
from tangent.composition.delta_sum import DeltaSum
from tangent.composition.exact_sum import HOST
from tangent.spaces.devices import device_of

Ways = dict[str, Callable[[], Any]]

PARAMETERS = 22_050_000  # of ViT-S
TENSORS = 150
WIDTH = 385
DISTINCT = 10  # contents; more files are copies, each with its own pages
READ = 1 << 18  # entries in one step of the plain reading
READING, READING_KEPT = "read once (torch.sum, files mapped anew)", "read once (maps kept open)"
NAIVE, EXACT = "load_file + add, float32", "exact: files to delta"
KEEPING, REMOVING = "exact: files to delta, sums kept", "remove one of T, exactly, new delta"
UNCOMPILED = "exact: files to delta, by torch alone"
MOVING = "24 bytes an entry moved by torch, as a removal does"
AXPY, AXPY_IN_PLACE = "float32 axpy, new delta", "float32 axpy in place"
RATIOS = {
    f"{NAIVE} / read": (NAIVE, READING),
    f"{EXACT} / read": (EXACT, READING),
    f"{EXACT} / read with maps kept open": (EXACT, READING_KEPT),
    f"{KEEPING} / read": (KEEPING, READING),
    f"{UNCOMPILED} / read": (UNCOMPILED, READING),
    f"{REMOVING} / {AXPY}": (REMOVING, AXPY),
    f"{MOVING} / {AXPY_IN_PLACE}": (MOVING, AXPY_IN_PLACE),
    f"{REMOVING} / {AXPY_IN_PLACE}": (REMOVING, AXPY_IN_PLACE),
}
TARGETS = {f"{EXACT} / read": 2.0, f"{REMOVING} / {AXPY_IN_PLACE}": 2.0}


def write(folder: Path, count: int, parameters: int) -> list[Path]:
    """Component files of random directions."""
    paths: list[Path] = []
    for number in range(count):
        path = folder / f"{number}.safetensors"
        if number < DISTINCT:
            synthetic(number, parameters).save(path)
        else:
            path.write_bytes(paths[number % DISTINCT].read_bytes())
        paths.append(path)
    return paths


def synthetic(seed: int, parameters: int) -> Component:
    """A component with entries of the size that training gives."""
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(parameters, generator=generator) * 1e-3
    sizes = [parameters // TENSORS] * (TENSORS - 1)
    pieces = vector.split([*sizes, parameters - sum(sizes)])
    return Component(
        fingerprint="benchmark",
        scope="all",
        labels={"cat": 1, "dog": 1},
        head_labels=("cat", "dog"),
        head=torch.randn(2, WIDTH, generator=generator, dtype=torch.float64),
        backbone={f"{i:03d}": piece for i, piece in enumerate(pieces)},
        statistics=None,
    )


def directions(path: Path) -> torch.Tensor:
    """Return the mapped directions of a component's file, flat."""
    tensors = mapped(path, *header_of(path))
    return flat(v for k, v in sorted(tensors.items()) if k.startswith(BACKBONE))


def read(vectors: list[torch.Tensor]) -> None:
    for vector in vectors:
        for piece in vector.split(READ):
            piece.sum()


def naive(paths: list[Path]) -> dict[str, torch.Tensor]:
    """The average as one writes it first."""
    total: dict[str, torch.Tensor] = {}
    for path in paths:
        for name, value in load_file(path).items():
            total[name] = total[name] + value if name in total else value
    return {name: value / len(paths) for name, value in total.items()}


def exact(paths: list[Path], device: torch.device, *, kept: bool = False) -> tuple[DeltaSum, Delta]:
    parts = [(Component.load(path, directions_checked=False), 1.0) for path in paths]
    sums = DeltaSum(WIDTH, kept=kept, device=device)
    return sums, sums.change(parts, divisor=len(paths))


def uncompiled(paths: list[Path]) -> None:
    """The same by the passes that run where no compiler is installed."""
    compiled, exact_sum.COMPILED_FROM = exact_sum.COMPILED_FROM, 1 << 62
    try:
        exact(paths, HOST)
    finally:
        exact_sum.COMPILED_FROM = compiled


def measure(paths: list[Path], rounds: int, device: torch.device) -> dict[str, Any]:
    """Median milliseconds of every way, and whether a removal leaves the bytes of never added."""
    sums, whole = exact(paths, device, kept=True)
    last = [(Component.load(paths[-1], directions_checked=False), 1.0)]

    def put_back() -> Delta:
        return sums.change(last, divisor=len(paths))

    without = sums.change([], last, divisor=len(paths) - 1)
    same = equal(without, exact(paths[:-1], HOST)[1]) and equal(put_back(), whole)
    vector, other = flat(whole.backbone.values()), flat(last[0][0].backbone.values()).to(device)
    ways = composing(paths, device) | {
        REMOVING: lambda: sums.change([], last, divisor=len(paths) - 1),
        **moving(vector, other),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first one warms up
        for name, way in ways.items():
            finish()
            began = time.perf_counter()
            way()
            finish()
            if number:
                times[name].append(time.perf_counter() - began)
            if name == REMOVING:
                put_back()
    found = {name: median(values) for name, values in times.items()}
    return {
        "components": len(paths),
        "milliseconds": {name: round(1000 * value, 1) for name, value in found.items()},
        "ratios": {name: round(found[a] / found[b], 2) for name, (a, b) in RATIOS.items()},
        "removal_leaves_the_bytes_of_never_added": same,
    }


def composing(paths: list[Path], device: torch.device) -> Ways:
    """From files to a delta, and reading the same bytes once."""
    resident = [directions(path) for path in paths]
    return {
        READING: lambda: read([directions(path) for path in paths]),
        READING_KEPT: lambda: read(resident),
        NAIVE: lambda: naive(paths),
        EXACT: lambda: exact(paths, device),
        KEEPING: lambda: exact(paths, device, kept=True),
        UNCOMPILED: lambda: uncompiled(paths),
    }


def moving(vector: Tensor, other: Tensor) -> Ways:
    """Return the comparisons for a removal: reading the bytes that it moves, and an axpy."""
    held = torch.zeros(len(vector), dtype=torch.float64, device=vector.device)

    def new() -> Tensor:
        """Return memory as the sums take it."""
        on_host = vector.device.type == "cpu"
        return empty(len(vector), torch.float32) if on_host else torch.empty_like(vector)

    def move() -> None:
        held.add_(1.0)
        torch.add(other, 1.0, out=new())

    def axpy() -> None:
        torch.add(vector, other, alpha=-0.1, out=new())

    return {MOVING: move, AXPY: axpy, AXPY_IN_PLACE: lambda: vector.add_(other, alpha=-0.1)}


def equal(one: Delta, two: Delta) -> bool:
    pairs = zip(one.tensors().values(), two.tensors().values(), strict=True)
    return one.labels == two.labels and all(
        torch.equal(a.cpu().view(torch.int32), b.cpu().view(torch.int32)) for a, b in pairs
    )


def main(given: Sequence[str] | None = None) -> int:
    """Print the table and write the JSON; 1 if a removal does not leave the right bytes."""
    parser = argparse.ArgumentParser(description="Composition next to reading the bytes once.")
    parser.add_argument("--components", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--parameters", type=int, default=PARAMETERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few and small, for a look")
    parser.add_argument("--json", type=Path, help="default: where the documents look, if not quick")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or the GPU if there is one")
    args = parser.parse_args(given)
    device = device_of(args.device)
    if args.quick:
        args.components, args.parameters, args.rounds = [5], 1_000_000, 3
    with tempfile.TemporaryDirectory(prefix="tangent-bench-") as folder:
        paths = write(Path(folder), max(args.components), args.parameters)
        result = {
            "machine": machine(torch.get_num_threads(), device),
            "parameters": args.parameters,
            "rounds": args.rounds,
            "runs": [measure(paths[:count], args.rounds, device) for count in args.components],
        }
    if not args.quick or args.json:
        (args.json or RESULTS / "composition.json").write_text(json.dumps(result, indent=2) + "\n")
    report(result, Console(highlight=False))
    return 0 if all(run["removal_leaves_the_bytes_of_never_added"] for run in result["runs"]) else 1


def report(result: dict[str, Any], console: Console) -> None:
    """Times and ratios, a column for each number of components."""
    console.print(f"{result['parameters']:,} parameters, float32; {result['machine']}")
    table = Table()
    table.add_column("median ms, or ratio")
    for run in result["runs"]:
        table.add_column(f"T = {run['components']}", justify="right")
    for name in result["runs"][0]["milliseconds"]:
        table.add_row(name, *(f"{run['milliseconds'][name]:.0f}" for run in result["runs"]))
    table.add_section()
    for name in RATIOS:
        goal = f" (target {TARGETS[name]:g})" if name in TARGETS else ""
        table.add_row(name + goal, *(f"{run['ratios'][name]:.2f}" for run in result["runs"]))
    console.print(table)
    right = all(run["removal_leaves_the_bytes_of_never_added"] for run in result["runs"])
    console.print(f"a removal leaves the bytes of never having been added: {right}")


if __name__ == "__main__":
    raise SystemExit(main())
