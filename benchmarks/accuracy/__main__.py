"""Measures accuracy: methods x protocols x images x backbones, and prints aims next to figures.

    make bench-accuracy            (or: python -m benchmarks.accuracy --help)

Every method sees the same images through the same frozen base. A seed draws four fifths of each
label's training images and deals them anew; what a method chooses (a penalty, weights), it chooses
by the other fifth. Nothing is fitted on test images.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

import tangent
from benchmarks.accuracy import documents, plots
from benchmarks.accuracy.costs import costs
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.outcome import Outcome, records
from benchmarks.accuracy.pictures import (
    FASHION_MNIST,
    Pictures,
    both,
    fashion_mnist,
    handwritten_digits,
    image_folder,
)
from benchmarks.accuracy.plan import QUICK, QUICK_WIDE, Effort, measure
from benchmarks.accuracy.reaches import reaches
from benchmarks.accuracy.results import RESULTS, Results
from benchmarks.accuracy.tables import reached, tables
from benchmarks.interleaved import machine

VIT, RESNET = "vit_micro_32", "resnet_micro_32"
WEIGHTS = Path(__file__).parent.parent / "weights"
HALF = "resnet_micro_32_half"  # knows half of CIFAR-10's labels
UNSEEN = ("automobile", "cat", "dog", "horse", "truck")  # the other half
SETS = ("digits", "fashion-mnist", "digits+fashion-mnist", "cifar10-unseen")
QUICK_DIGITS = 25
LINEAR = Effort(scopes=tangent.LINEAR)
WIDE = Effort(seeds=2, block_seeds=1)  # of twenty labels, or convolutions


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="few digits; for a look, no figure")
    parser.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, metavar="FOLDER")
    parser.add_argument(
        "--cifar10",
        type=Path,
        metavar="FOLDER",
        help="with train/<class>/* and test/<class>/*: the five classes that the base has not seen",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        action="append",
        default=[],
        help="measure these images instead, train/<label>/* and test/<label>/*; may be repeated",
    )
    parser.add_argument("--backbone", default=VIT, help="for --folder; as in POST /v1/spaces")
    parser.add_argument("--train-per-label", type=int, default=120)
    parser.add_argument("--test-per-label", type=int, default=100)
    parser.add_argument("--pictures", nargs="+", choices=SETS, default=SETS, help="only these")
    parser.add_argument("--scopes", nargs="+", help="only these")
    parser.add_argument("--seeds", type=int, help="of every scope")
    parser.add_argument("--threads", type=int, help="of torch; all cores unless given")
    parser.add_argument("--out", type=Path, help=f"JSON; {RESULTS} unless --quick or --folder")
    parser.add_argument(
        "--render", action="store_true", help="measure nothing: write charts and documents anew"
    )
    return parser.parse_args(given)


def galleries(args: argparse.Namespace, console: Console) -> Iterator[tuple[Gallery, Effort]]:
    """What is to be measured how; says what is missing for the rest."""
    if args.quick:
        yield Gallery(VIT, handwritten_digits(QUICK_DIGITS)), QUICK
        yield Gallery(RESNET, handwritten_digits(QUICK_DIGITS)), QUICK_WIDE
        return
    sizes = (args.train_per_label, args.test_per_label)
    for folder in args.folder:
        yield Gallery(args.backbone, image_folder(folder, *sizes)), Effort()
    if args.folder:
        return
    for pictures in chosen(args, console):
        yield Gallery(VIT, pictures), WIDE if "+" in pictures.name else Effort()
        yield Gallery(RESNET, pictures), LINEAR
    if "cifar10-unseen" in args.pictures:
        if args.cifar10:
            base = str(WEIGHTS / f"{HALF}.safetensors")
            yield Gallery(base, unseen(args.cifar10, sizes)), WIDE
        else:
            missing = "NOT MEASURED: CIFAR-10; give its folder with --cifar10"
            console.print(missing, style="bold red")


def chosen(args: argparse.Namespace, console: Console) -> Iterator[Pictures]:
    """Digits, Fashion-MNIST, and both as one; without Fashion-MNIST's files, how to get them."""
    drawn = handwritten_digits(round(1.25 * args.train_per_label))  # a fifth of them is held out
    if "digits" in args.pictures:
        yield drawn
    if not any("fashion-mnist" in name for name in args.pictures):
        return
    try:
        sizes = (args.train_per_label, args.test_per_label)
        garments = fashion_mnist(args.fashion_mnist, *sizes)
    except FileNotFoundError as error:
        console.print(f"NOT MEASURED: {error}", style="bold red", markup=False)
        return
    if "fashion-mnist" in args.pictures:
        yield garments
    if "digits+fashion-mnist" in args.pictures:
        yield both(drawn, garments)


def unseen(folder: Path, sizes: tuple[int, int]) -> Pictures:
    """CIFAR-10's images of the classes that the base was not trained on."""
    return replace(image_folder(folder, *sizes, only=UNSEEN), name="cifar10-unseen")


def run(args: argparse.Namespace, console: Console) -> Results:
    """Measure everything asked for."""
    began, outcomes, pictures, spent = time.monotonic(), list[Outcome](), {}, {}
    for gallery, effort in galleries(args, console):
        pictures[gallery.name] = {
            "labels": len(gallery.labels),
            "train": len(gallery.train),
            "test": len(gallery.test),
        }
        for outcome in measure(gallery, narrowed(effort, args)):
            outcomes.append(outcome)
            about = f"{outcome.pictures} {outcome.backbone} {outcome.scope}"
            case = f"{outcome.protocol} T={outcome.parties} seed {outcome.seed}"
            print(
                f"{time.monotonic() - began:6.0f} s {about} {case} {outcome.method}: "
                f"{outcome.accuracy:.1%}",
                flush=True,
            )
        if not spent:
            spent = costs(gallery, quick=args.quick)
    return Results(
        command=shlex.join(["python", "-m", "benchmarks.accuracy", *shown_arguments()]),
        machine=machine(torch.get_num_threads()),
        seconds=round(time.monotonic() - began, 1),
        pictures=pictures,
        records=records(outcomes),
        costs=spent,
    )


def narrowed(effort: Effort, args: argparse.Namespace) -> Effort:
    """The effort within what the command line allows."""
    if args.scopes:
        effort = replace(effort, scopes=tuple(s for s in effort.scopes if s in args.scopes))
    if args.seeds:
        effort = replace(effort, seeds=args.seeds, block_seeds=args.seeds)
    return effort


def shown_arguments() -> list[str]:
    """The command line with folders by their names: where they lie is no part of a result."""
    return [Path(word).name if "/" in word else word for word in sys.argv[1:]]


def show(results: Results, console: Console) -> None:
    """Tables, then what was aimed at, then machine and time."""
    for table in tables(results.records):
        console.print()
        console.print(table)
    console.print()
    console.print(reached(reaches(results.records, results.costs)))
    about = f"{results.machine}; {results.seconds:.0f} s in all"
    console.print(about, markup=False, highlight=False)


def main() -> None:
    """Measure, print, write the JSON file; or write the documents from it."""
    args = arguments()
    console = Console(width=max(Console().width, 170))
    if args.render:
        results = Results.load(args.out or RESULTS)
        show(results, console)
        for path in [*plots.draw(results.records, results.costs), *documents.render(results)]:
            console.print(f"written: {path}", markup=False)
        return
    if args.threads:
        torch.set_num_threads(args.threads)
    results = run(args, console)
    show(results, console)
    out = args.out or (None if args.quick or args.folder else RESULTS)
    if out:
        results.save(out)
        console.print(f"written to {out}; --render puts it into the documents", markup=False)


if __name__ == "__main__":
    main()
