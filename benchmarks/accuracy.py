"""Measures accuracy: backbones x scopes x rules, next to joint training on the pooled data.

    make bench-accuracy            (or: python -m benchmarks.accuracy --help)

Class-incremental, as in the papers: the labels are dealt to five parties, two each; each party
trains a component from its own images alone; the composition of the five answers for all ten. The
largest figure among `joint` and `average` chooses the default space; `pooled` is the reference, one
component trained on all images together at the same scope. Nothing is fitted on the test images.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import tangent
from benchmarks.pictures import FASHION_MNIST, Pictures, fashion_mnist, handwritten_digits

SCOPES = ("head", "head2toe", "last-block")
PARTIES = 5
RESULTS = Path(__file__).parent / "results" / "accuracy.json"


@dataclass(frozen=True)
class Rows:
    """Preprocessed images with labels, as `tangent.fit` reads them."""

    images: Tensor  # (N, 3, S, S) float32
    labels: list[str]

    def batches(self, size: int) -> Iterator[Tensor]:
        """The images in order."""
        return iter(self.images.split(size))

    def only(self, labels: Sequence[str]) -> "Rows":
        """The images that have one of these labels."""
        rows = [i for i, label in enumerate(self.labels) if label in labels]
        return Rows(self.images[rows], [self.labels[i] for i in rows])


@dataclass(frozen=True)
class Outcome:
    """One row of the table: shares of the test images whose best label is right."""

    pictures: str
    backbone: str
    scope: str
    l2: float
    pooled: float  # joint training on the pooled data
    joint: float | None  # None where the rule is not exact
    average: float  # every label declared to the space, as in the papers
    average_undeclared: float | None  # each party knows its own labels alone; linear scopes only
    train_seconds: float  # of the five components
    pooled_seconds: float
    converged: bool
    gradient: float  # largest share of the first gradient that is left, over all trainings
    component_bytes: int  # of one party's file


def accuracy(space: tangent.Space, components: Sequence[Any], rule: str, test: Rows) -> float:
    """Of the components composed by the rule."""
    parts = [(component, None) for component in components]
    shas = [f"{i:064x}" for i in range(len(parts))]
    delta = tangent.compose(space, parts, rule, shas=shas)
    best = space.logits(test.images, delta).argmax(1).tolist()
    hits = sum(delta.labels[k] == label for k, label in zip(best, test.labels, strict=True))
    return hits / len(test.labels)


@dataclass(frozen=True)
class Trained:
    """Components with how their trainings went."""

    components: list[tangent.Component]
    seconds: float
    converged: bool
    gradient: float


def trained(space: tangent.Space, parts: Sequence[Rows], settings: dict[str, Any]) -> Trained:
    """A component from each part."""
    hyperparameters = tangent.Hyperparameters.resolve(space.scope, settings)
    fits, began = [], time.monotonic()
    for rows in parts:
        with tempfile.TemporaryDirectory() as scratch:
            fits.append(tangent.fit(space, rows, hyperparameters, seed=0, scratch=Path(scratch)))
    return Trained(
        [fitted.component for fitted in fits],
        time.monotonic() - began,
        all(fitted.metrics["converged"] for fitted in fits),
        max(fitted.metrics["gradient_reduction"] for fitted in fits),
    )


def measure(
    backbone: str, scope: str, settings: dict[str, Any], name: str, train: Rows, test: Rows
) -> Outcome:
    """One backbone at one scope on one set of images."""
    labels = sorted(set(train.labels))
    step = len(labels) // PARTIES
    parts = [train.only(labels[i * step : (i + 1) * step]) for i in range(PARTIES)]
    alone = tangent.open_space(backbone, scope)
    declared = tangent.open_space(backbone, scope, labels)
    exact = alone.joint_is_exact
    informed, pooled = trained(declared, parts, settings), trained(alone, [train], settings)
    components = trained(alone, parts, settings).components if exact else []
    return Outcome(
        pictures=name,
        backbone=backbone,
        scope=scope,
        l2=settings["l2"],
        pooled=accuracy(alone, pooled.components, "average", test),
        joint=accuracy(alone, components, "joint", test) if exact else None,
        average=accuracy(declared, informed.components, "average", test),
        average_undeclared=accuracy(alone, components, "average", test) if exact else None,
        train_seconds=round(informed.seconds, 2),
        pooled_seconds=round(pooled.seconds, 2),
        converged=informed.converged and pooled.converged,
        gradient=max(informed.gradient, pooled.gradient),
        component_bytes=len(informed.components[0].to_bytes()),
    )


def prepared(backbone: str, pictures: Pictures) -> tuple[Rows, Rows]:
    """Training and test images as this backbone's checkpoint wants them."""
    preprocess = tangent.load_backbone(backbone).preprocess
    train, test = (
        Rows(torch.stack([preprocess(image) for image in images]), labels)
        for images, labels in (pictures.train, pictures.test)
    )
    return train, test


def chosen(args: argparse.Namespace, console: Console) -> list[Pictures]:
    """The sets of images asked for; without Fashion-MNIST's files, says how to get them."""
    sets = [handwritten_digits(60 if args.quick else None)]
    train, test = (50, 20) if args.quick else (args.train_per_label, args.test_per_label)
    try:
        sets.append(fashion_mnist(args.fashion_mnist, train, test))
    except FileNotFoundError as error:
        console.print(f"NOT MEASURED: {error}", style="bold red", markup=False)
    return sets


def machine() -> str:
    """The machine and the software that the figures depend on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":")[1].strip() if names else cpu
    threads = f"{torch.get_num_threads()} thread(s)"
    return f"{cpu}, {threads}, Python {platform.python_version()}, torch {torch.__version__}"


def table(outcomes: Sequence[Outcome], pictures: Pictures) -> Table:
    """The outcomes on one set of images, the best composition in bold."""
    title = (
        f"{pictures.name}: {len(pictures.train[1])} training, {len(pictures.test[1])} test images, "
        f"{PARTIES} parties of {len(pictures.labels) // PARTIES} labels"
    )
    shown = Table(title=title, title_justify="left")
    for column in ("backbone", "scope"):
        shown.add_column(column)
    for column in (
        "l2",
        "pooled",
        "joint",
        "average",
        "average,\nundeclared",
        "train 5,\ns",
        "kB each",
    ):
        shown.add_column(column, justify="right")
    best = max(max(o.joint or 0, o.average, o.average_undeclared or 0) for o in outcomes)
    for o in outcomes:
        shares = [_share(value, best) for value in (o.joint, o.average, o.average_undeclared)]
        mark = "" if o.converged else f" (gradient at {o.gradient:.1%})"
        shown.add_row(
            *(o.backbone, o.scope + mark, f"{o.l2:g}", f"{o.pooled:.1%}", *shares),
            *(f"{o.train_seconds:.1f}", f"{o.component_bytes / 1e3:.0f}"),
        )
    return shown


def _share(value: float | None, best: float) -> str:
    if value is None:
        return "n/a"
    return f"[bold]{value:.1%}[/bold]" if value == best else f"{value:.1%}"


def wide() -> Console:
    """A console on which no column of the table is cut."""
    console = Console()
    return Console(width=max(console.width, 110))


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small subsets; for a look, not a figure"
    )
    parser.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, metavar="FOLDER")
    parser.add_argument("--train-per-label", type=int, default=200, help="of Fashion-MNIST")
    parser.add_argument("--test-per-label", type=int, default=100, help="of Fashion-MNIST")
    parser.add_argument("--backbones", nargs="+", default=tangent.shipped_backbones())
    parser.add_argument("--scopes", nargs="+", default=SCOPES)
    parser.add_argument("--l2", nargs="+", type=float, default=[tangent.Hyperparameters().l2])
    parser.add_argument("--steps", type=int, default=20, help="of a block scope's solver, at most")
    parser.add_argument("--threads", type=int, help="of torch; all cores unless given")
    parser.add_argument("--out", type=Path, help=f"JSON file; {RESULTS} unless --quick")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table for each set of images, write the JSON file."""
    args, console, outcomes = arguments(), wide(), []
    if args.threads:
        torch.set_num_threads(args.threads)
    began, sets = time.monotonic(), chosen(args, console)
    steps = {"max_iterations": args.steps}
    for pictures in sets:
        for backbone in args.backbones:
            train, test = prepared(backbone, pictures)
            for scope in args.scopes:
                for l2 in args.l2:
                    settings = {"l2": l2} | ({} if scope in tangent.LINEAR else steps)
                    outcome = measure(backbone, scope, settings, pictures.name, train, test)
                    outcomes.append(outcome)
                    print(f"{time.monotonic() - began:5.0f} s", asdict(outcome), flush=True)
    for pictures in sets:
        console.print()
        console.print(table([o for o in outcomes if o.pictures == pictures.name], pictures))
    where = machine()
    console.print(
        f"{where}; {time.monotonic() - began:.0f} s in all", markup=False, highlight=False
    )
    out = args.out or (None if args.quick else RESULTS)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": where, "outcomes": [asdict(o) for o in outcomes]}
        out.write_text(json.dumps(document, indent=2) + "\n")
        console.print(f"written to {out}", markup=False)


if __name__ == "__main__":
    main()
