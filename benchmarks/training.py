"""Measures training the last block next to the papers' way of training it.

    make bench-training            (or: python -m benchmarks.training --help)

The papers' scheme, written anew: every step runs the images through the whole network in dual
numbers and differentiates through that (Liu & Soatto's code does so with hand-written layers).
Ours caches what does not depend on delta and works on that. Same loss, data and starting point.
"""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.interleaved import RESULTS, finish, machine, timed
from benchmarks.serving import fresh, photographs
from tangent import Hyperparameters, Space
from tangent.backbones.loading import wrap
from tangent.solvers import losses
from tangent.spaces.devices import device_of
from tangent.training import iterative
from tangent.training.fit import cached_problem
from tangent.training.problem import TrainingProblem
from tangent.training.room import Room, run_in_room

LABELS, BATCH, EPOCHS = 10, 32, 50
AMORTISED = 10  # epochs of ours in one timing, which ends with a full evaluation
FORWARD, TUNING = "plain forward", "plain fine-tuning, one epoch"
OURS, PAPERS = "ours, one epoch of Adam", "papers' scheme, one epoch"
SETTINGS = dict(alpha=15.0, beta=5.0, l2=1e-4, batch_size=BATCH)
ADAM = Hyperparameters.resolve("last-block", {"solver": "adam", **SETTINGS})


class Data:
    """Images with labels in turn, in memory; batches of them on the device that trains."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.images, self.device = images, device
        self.labels = [f"label {i % LABELS}" for i in range(len(images))]

    def batches(self, size: int) -> Iterator[Tensor]:
        return (some.to(self.device) for some in self.images.split(size))


class PapersScheme:
    """One epoch of Adam, each step a dual pass of the whole network and autograd through it."""

    def __init__(self, model: nn.Module, problem: TrainingProblem, data: Data) -> None:
        self.model, self.problem, self.data = model, problem, data
        self.base = {name: p.detach() for name, p in model.named_parameters()}
        self.delta = {name: v.clone().requires_grad_() for name, v in problem.zero().items()}
        self.optimizer = torch.optim.Adam(self.delta.values(), lr=1e-3)

    def epoch(self) -> None:
        rows = self.problem.base.float()
        still = {name: torch.zeros_like(p) for name, p in self.base.items()}
        targets_of = self.problem.targets.split(BATCH)
        for x, columns in zip(self.data.batches(BATCH), targets_of, strict=True):
            targets = columns.to(x.device)
            moving = {name: d for name, d in self.delta.items() if name != "head"}
            with sdpa_kernel(SDPBackend.MATH):
                phi, along = jvp(
                    lambda p, x=x: functional_call(self.model, p, (x,)),
                    (self.base,),
                    (still | moving,),
                )[:2]
            psi = F.pad(phi, (0, 1), value=1.0)
            logits = psi @ (rows + self.delta["head"]).T + along @ rows[:, :-1].T
            wanted, weight = losses.rsl_target(logits, targets, SETTINGS["alpha"], SETTINGS["beta"])
            value = (weight * (logits - wanted) ** 2).sum() / logits.numel()
            self.optimizer.zero_grad()
            value.backward()
            self.optimizer.step()


def plain_tuning(model: nn.Module, names: list[str], data: Data) -> None:
    """One epoch of ordinary fine-tuning of the same parameters with a linear head."""
    model = copy.deepcopy(model)
    tuned = [p.requires_grad_() for name, p in model.named_parameters() if name in names]
    head = nn.Linear(model.num_features, LABELS, device=data.device)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam([*tuned, *head.parameters()], lr=1e-4)
    columns = (torch.arange(len(data.images), device=data.device) % LABELS).split(BATCH)
    for x, targets in zip(data.batches(BATCH), columns, strict=True):
        value = F.cross_entropy(head(model(x)), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def measure(
    name: str, count: int, photos: Path | None, rounds: int, device: torch.device
) -> dict[str, Any]:
    """All figures of one model."""
    model = fresh(name, device)
    backbone = wrap(name, copy.deepcopy(model))
    data = Data(photographs(photos, backbone, count), device)
    space = Space(backbone, "last-block", device=str(device), compile="auto")

    def measured(room: Room) -> tuple[float, dict[str, float], dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            finish()
            began = time.perf_counter()
            problem = cached_problem(space, data, ADAM, Path(folder), room)
            finish()
            caching = time.perf_counter() - began
            return caching, epochs(model, problem, data, rounds), to_one_loss(problem)

    caching, seconds, trained = run_in_room(device, measured)
    scheme = seconds[PAPERS]
    return {
        "images": count,
        "seconds": seconds,
        "caching": caching,
        "epoch_ratio": scheme / seconds[OURS],
        **trained,
        "training_ratio": EPOCHS * scheme / (caching + trained["cg_seconds"]),
    }


def epochs(model: nn.Module, problem: TrainingProblem, data: Data, rounds: int) -> dict[str, float]:
    """Median seconds of an epoch in every way, and of one plain pass over the images."""

    @torch.no_grad()
    def forward() -> None:
        for x in data.batches(BATCH):
            model(x)

    assert problem.space.suffix is not None
    tuned = list(problem.space.suffix.base)
    problem.hyperparameters = replace(ADAM, epochs=AMORTISED)
    ways: dict[str, Callable[[], Any]] = {
        FORWARD: forward,
        PAPERS: PapersScheme(model, problem, data).epoch,
        TUNING: lambda: plain_tuning(model, tuned, data),
        OURS: lambda: iterative.adam(problem, 0, quiet),
    }
    seconds = timed(ways, rounds)
    return seconds | {OURS: seconds[OURS] / AMORTISED}


def to_one_loss(problem: TrainingProblem) -> dict[str, Any]:
    """Adam for all its epochs, and the fewest tried steps of conjugate gradients to its loss."""
    problem.hyperparameters = ADAM
    finish()
    began = time.perf_counter()
    goal = iterative.adam(problem, 0, quiet).stats["final_loss"]
    found = {"adam_loss": goal, "adam_seconds": time.perf_counter() - began}
    for steps in (5, 10, 20, 40, 80, 160, 320):
        settings = {"max_iterations": steps, "tolerance": 1e-9, "tolerance_of": "gradient"}
        settings |= SETTINGS
        problem.hyperparameters = Hyperparameters.resolve("last-block", settings)
        finish()
        began = time.perf_counter()
        reached = iterative.conjugate_gradients(problem, quiet).stats["final_loss"]
        solving = time.perf_counter() - began
        if reached <= goal:
            break
    return found | {"cg_steps": steps, "cg_loss": reached, "cg_seconds": solving}


def quiet(step: int, total: int, loss: float | None) -> None:
    """Progress that nobody reads."""


def table(name: str, figures: dict[str, Any]) -> Any:
    """One model's figures next to what is aimed at."""
    from rich.table import Table  # a bare GPU machine has no rich, and measures without tables

    title = f"{name}, {figures['images']} images, last block, batch {BATCH}"
    shown = Table("what", title=title)
    for column in ("seconds", "reach"):
        shown.add_column(column, justify="right")
    for way, value in (figures["seconds"] | {"ours, caching once": figures["caching"]}).items():
        shown.add_row(way, f"{value:.3f}", "")
    shown.add_row("papers' epoch / ours", f"{figures['epoch_ratio']:.0f} ×", "≥ 200 ×")
    shown.add_row(f"loss after {EPOCHS} epochs of Adam", f"{figures['adam_loss']:.4g}", "")
    conjugate = f"conjugate gradients, {figures['cg_steps']} steps, loss {figures['cg_loss']:.4g}"
    shown.add_row(conjugate, f"{figures['cg_seconds']:.3f}", "")
    whole = f"papers' {EPOCHS} epochs / ours to that loss, caching included"
    shown.add_row(whole, f"{figures['training_ratio']:.0f} ×", "≥ 100 ×")
    return shown


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the results."""
    from rich.console import Console

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["vit_tiny_patch16_224"])
    parser.add_argument("--images", type=int, default=304)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="tar of photographs; noise without")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, default=RESULTS / "training.json")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or the GPU if there is one")
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    device = device_of(args.device, tf32=False)
    console = Console()
    console.print(machine(args.threads, device))
    found = {}
    for name in args.models:
        found[name] = measure(name, args.images, args.photos, args.rounds, device)
        console.print(table(name, found[name]))
    about = {"machine": machine(args.threads, device), "rounds": args.rounds, "results": found}
    args.json.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
