"""Measures a device: answers, trainings and compositions next to the best plain pass it has.

    benchmarks/device.sh           (or: python -m benchmarks.device --help)

It needs tangent/, benchmarks/, timm and safetensors alone. Weights are fresh and images noise. The
best plain pass of a model is the quickest of three in bfloat16: eager, captured in a CUDA graph,
and compiled and captured. Answers go through the public functions of a space, from images on the
device to logits on the host, in the precision that is asked for, by recorded passes; with --compile
(and a --limit of several hundred seconds) by compiled ones. Each cell has its own limit of time;
one that fails shows its error, and the others go on.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tangent
from benchmarks import mixed_batches as mixed
from benchmarks.interleaved import RESULTS, at_most, finish, machine, timed
from benchmarks.plain_passes import PLAIN
from benchmarks.training import ADAM, OURS, PAPERS, Data, epochs
from tangent.backbones.loading import create_untrained, wrap
from tangent.composition.delta_sum import DeltaSum, split_directions
from tangent.jvp.compiled.passes import MIN_ASKED
from tangent.spaces.devices import device_of
from tangent.training.fit import cached_problem
from tangent.training.room import Room, run_in_room

LABELS, MANY = 100, 32
QUICK = dict(img_size=32, depth=2, embed_dim=32, num_heads=2)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # short name -> timm's, and its small form
    "ViT-S": ("vit_small_patch16_224", QUICK),
    "ViT-B": ("vit_base_patch16_224", QUICK),
    "ViT-L": ("vit_large_patch16_224", QUICK),
    "ResNet-50": ("resnet50", dict(layers=(1, 1, 1, 1), channels=(2, 3, 4, 5))),
}


@dataclass
class Cell:
    """A line of the table; `reach` is in the unit of the figure."""

    name: str
    unit: str  # "plain passes", "ms" or "times"
    reach: str
    measure: Callable[["Bench"], float]
    figure: float | None = None
    error: str = ""


@dataclass
class Bench:
    """Models and their best plain passes, made when they are first asked for."""

    device: torch.device
    is_quick: bool
    rounds: int
    precision: str
    compiles: bool = False  # faster passes too, not only the plain ones
    plain: dict[tuple[str, int], tuple[str, float]] = field(default_factory=dict)

    def model(self, short: str) -> nn.Module:
        """Return the architecture with seeded weights."""
        name, small = MODELS[short]
        torch.manual_seed(0)
        model: nn.Module = create_untrained(name, 0, **(small if self.is_quick else {}))
        return model.eval().requires_grad_(False).to(self.device)

    def images(self, count: int) -> Tensor:
        """Return noise (count, 3, S, S) on the host."""
        size = 32 if self.is_quick else 224
        return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))

    def space(self, short: str, scope: str, **how: Any) -> tangent.Space:
        """Return a space that answers in the precision of this run."""
        backbone = wrap(short, self.model(short), {"input_size": tuple(self.images(1)[0].shape)})
        how = {"device": str(self.device), "precision": self.precision} | how
        return tangent.Space(backbone, scope, **how)

    def delta(self, space: tangent.Space, seed: int = 0) -> tangent.Delta:
        """Return a random delta of LABELS labels."""
        generator = torch.Generator().manual_seed(seed)
        labels = tuple(f"label {i:03d}" for i in range(LABELS))
        head = torch.randn(LABELS, space.readout_width, generator=generator, dtype=torch.float64)
        base = space.suffix.base if space.suffix else {}
        blocks = {
            name: 0.02 * torch.randn(p.shape, generator=generator) for name, p in base.items()
        }
        return tangent.Delta(labels, 0.01 * head, blocks)

    def seconds(self, way: Callable[[], object]) -> float:
        """Return the median seconds of a way."""
        return timed({"": way}, self.rounds)[""]

    def seconds_of_answers(self, space: tangent.Space, answer: Callable[[], object]) -> float:
        """Return the median seconds of answers, by the faster passes that a service would make."""
        for _ in range(MIN_ASKED):
            answer()
        while space.passes is not None and space.passes.make_next():
            if not self.compiles:
                break
        for fault in space.passes.faults if space.passes is not None else ():
            print(f"  {fault}", flush=True)
        return self.seconds(answer)

    def best_plain(self, short: str, batch: int) -> float:
        """Return the seconds of the quickest plain pass, and keep which one it was."""
        if (short, batch) not in self.plain:
            model = self.model(short).to(torch.bfloat16)
            x = self.images(batch).to(self.device, torch.bfloat16)
            found = {}
            for name in ("eager",) if self.is_quick else PLAIN:
                try:
                    found[name] = self.seconds(PLAIN[name](self.device, model, x))
                except Exception as error:  # of a compiler or a driver: the others remain
                    print(f"  {short} b{batch}, {name}: {_first_line(error)}", flush=True)
            quickest = min(found, key=lambda name: found[name])
            self.plain[short, batch] = quickest, found[quickest]
        return self.plain[short, batch][1]


def answer(short: str, scope: str, batch: int, deltas: int = 1) -> Callable[[Bench], float]:
    """Return the measurement of answers in best plain passes of the same batch."""

    def measure(bench: Bench) -> float:
        space = bench.space(short, scope, compile="auto")
        x = bench.images(batch).to(bench.device)
        given = [bench.delta(space, seed) for seed in range(deltas)]
        seconds = bench.seconds_of_answers(space, lambda: space.logits_of_each(x, given))
        return seconds / bench.best_plain(short, batch)

    return measure


def host_to_host(bench: Bench) -> float:
    """Return the milliseconds of 256 images from the host to logits on the host."""
    space = bench.space("ViT-S", "last-block", compile="auto")
    x, delta = bench.images(8 if bench.is_quick else 256), bench.delta(space)
    return 1000 * bench.seconds_of_answers(space, lambda: space.logits_of_each(x, [delta]))


def epoch(bench: Bench) -> float:
    """Return the time of an epoch of the papers' scheme over that of ours on cached rows.

    As in a training, rows lie on the device if they fit, and steps are recorded if they can be.
    """
    space = bench.space("ViT-S", "last-block", compile="auto")
    data = Data(bench.images(16 if bench.is_quick else 320), bench.device)

    def measured(room: Room) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            problem = cached_problem(space, data, ADAM, Path(folder), room)
            return epochs(bench.model("ViT-S"), problem, data, 1 if bench.is_quick else 3)

    seconds = run_in_room(bench.device, measured)
    return seconds[PAPERS] / seconds[OURS]


def composing(bench: Bench) -> float:
    """Return the milliseconds of the exact average of ten components that are on the device."""
    shapes = {name: p.shape for name, p in bench.model("ViT-L").named_parameters()}
    size = sum(shape.numel() for shape in shapes.values())
    parts = []
    for seed in range(10):
        torch.manual_seed(seed)
        vector = 1e-3 * torch.randn(size, device=bench.device)
        head = torch.zeros(2, 2, dtype=torch.float64)
        component = tangent.Component(
            fingerprint="",
            scope="all",
            labels={"a": 1, "b": 1},
            head_labels=("a", "b"),
            head=head,
            backbone=split_directions(vector, shapes),
            statistics=None,
        )
        parts.append((component, 1.0))
    return 1000 * bench.seconds(
        lambda: DeltaSum(2, kept=False, device=bench.device).change(parts, divisor=10.0)
    )


def cells() -> list[Cell]:
    """Return the lines of the table, in order."""
    plain = "plain passes"
    return [
        *(
            Cell(f"{short}, last block, batch 64", plain, "≤ 1.0", answer(short, "last-block", 64))
            for short in ("ViT-S", "ViT-B", "ViT-L")
        ),
        Cell("ViT-S, last block, one image", plain, "≤ 1.15", answer("ViT-S", "last-block", 1)),
        Cell("ViT-S, `all`, batch 64", plain, "≤ 2.7", answer("ViT-S", "all", 64)),
        Cell(
            "ResNet-50, last block, batch 64", plain, "≤ 1.2", answer("ResNet-50", "last-block", 64)
        ),
        Cell(
            f"{MANY} compositions of one image, ViT-S, last block",
            *(plain, "≤ 1.35", answer("ViT-S", "last-block", 1, MANY)),
        ),
        Cell("16 compositions mixed, engine / recorded passes, ViT-S", "times", "≥ 1", mixed.gain),
        Cell("256 images host to host, ViT-S", "ms", "≤ 15", host_to_host),
        Cell("epoch of the last block, papers' scheme / ours, ViT-S", "times", "≥ 100", epoch),
        Cell("exact composition, ten components of ViT-L on the device", "ms", "≤ 8", composing),
    ]


def run(cell: Cell, bench: Bench, limit: int) -> None:
    """Measure a cell, or keep the reason why it has no figure."""
    try:
        with at_most(limit):
            cell.figure = cell.measure(bench)
        print(f"{cell.name}: {cell.figure:.3g} {cell.unit} (reach {cell.reach})", flush=True)
    except Exception as error:  # whatever it is, the other cells are measured
        cell.error = _first_line(error)
        print(f"{cell.name}: FAILED, {cell.error}", flush=True)
    finish()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).split(chr(10), 1)[0][:200]}"


def results(bench: Bench, about: str, found: Sequence[Cell]) -> dict[str, Any]:
    """Return what the page of figures is made from."""
    plain = {f"{name}, batch {b}": [way, s] for (name, b), (way, s) in bench.plain.items()}
    shown = [
        {"name": c.name, "unit": c.unit, "reach": c.reach, "figure": c.figure, "error": c.error}
        for c in found
    ]
    return {
        "machine": about,
        "environment": tangent.environment(bench.device),
        "precision": bench.precision,
        "rounds": bench.rounds,
        "plain": plain,
        "cells": shown,
    }


def tables(found: dict[str, Any]) -> list[list[list[str]]]:
    """Return the rows of results: of the run, of the cells, and of the plain passes."""
    run = [["card", "environment", "answers in"]]
    run.append([found["machine"], found["environment"], found["precision"]])
    rows = [["", "unit", "reach", "measured"]]
    for cell in found["cells"]:
        figure = "–" if cell["figure"] is None else f"{cell['figure']:.3g}"
        rows.append([cell["name"], cell["unit"], cell["reach"], cell["error"] or figure])
    plain = [["best plain pass in bfloat16", "way", "ms"]]
    for name, (way, seconds) in found["plain"].items():
        plain.append([name, way, f"{1000 * seconds:.3g}"])
    return [run, rows, plain]


def main(given: Sequence[str] | None = None) -> int:
    """Measure every cell, print the table and write the results; 1 if no cell has a figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16", help="of the answers")
    parser.add_argument("--quick", action="store_true", help="tiny models, for a look")
    parser.add_argument("--compile", action="store_true", help="faster passes: minutes a cell")
    parser.add_argument("--limit", type=int, default=40, metavar="SECONDS", help="of each cell")
    parser.add_argument("--json", type=Path, help="default: results/device.json, if not quick")
    args = parser.parse_args(given)
    device = device_of(args.device, tf32=False)
    bench = Bench(device, args.quick, 2 if args.quick else 10, args.precision, args.compile)
    found, about = cells(), machine(torch.get_num_threads(), device)
    print(about, flush=True)
    path = args.json or (None if args.quick else RESULTS / "device.json")
    for cell in found:
        run(cell, bench, args.limit)
        if path is not None:  # after each cell: whoever ends this process keeps what there is
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(results(bench, about, found), indent=2) + "\n")
    return 0 if any(cell.figure is not None for cell in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
