"""Measures accuracy, part by part, and prints aims next to figures.

    make bench-accuracy PHOTOS=photographs.tar ARGS="--cifar10 folder"
                                   (or: python -m benchmarks.accuracy --help)

| part        | what                                                                       |
|-------------|----------------------------------------------------------------------------|
| methods     | methods x protocols x images x backbones, as in the papers                 |
| calibration | novelty, margin, calibrated probabilities                                  |
| uneven      | uneven labels, and the default penalty                                     |
| photographs | the backbone for photographs beside the small one                          |
| last-block  | the last block's tangent beside fine-tuning, and composing it in one shot  |
| bytes       | bytes of statistics                                                        |
| privacy     | accuracy by epsilon                                                        |

Without --parts all are measured: the methods first, on all cores, then the others side by side,
each on one core. Each writes its own file to benchmarks/results/.

Every method sees the same images through the same frozen base. A seed draws four fifths of each
label's training images and deals them anew; what a method chooses (a penalty, weights), it chooses
by the other fifth. Nothing is fitted on test images.
"""

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.accuracy import documents, jobs, parts, plots
from benchmarks.accuracy.aims import aims
from benchmarks.accuracy.asked import SETS, VIT, galleries
from benchmarks.accuracy.costs import costs
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.outcome import Outcome, records
from benchmarks.accuracy.pictures import FASHION_MNIST
from benchmarks.accuracy.reaches import reaches
from benchmarks.accuracy.results import RESULTS, Results
from benchmarks.accuracy.tables import reached, tables
from benchmarks.interleaved import machine


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--parts", nargs="+", choices=parts.NAMES, help="only these")
    parser.add_argument("--photos", type=Path, help="tar of <label>/<photograph>")
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
    parser.add_argument(
        "--jobs", type=int, help="pools or parts side by side; one a core, pools at most 4"
    )
    parser.add_argument("--threads", type=int, help="of each job; all cores, dealt to the jobs")
    parser.add_argument("--out", type=Path, help=f"JSON; {RESULTS} unless --quick or --folder")
    parser.add_argument(
        "--render", action="store_true", help="measure nothing: write charts and documents anew"
    )
    return parser.parse_args(given)


def run(args: argparse.Namespace, console: Console) -> Results:
    """Measure every gallery of the command line; return the results."""
    began, found = time.monotonic(), dict[jobs.Job, list[Outcome]]()
    asked = list(galleries(args, console))
    if not asked:
        raise SystemExit("there is nothing to measure")
    spent = costs(asked[0][0], quick=args.quick)  # with nothing beside
    for job, outcomes in jobs.measured(args, asked):
        found[job] = outcomes
        for outcome in outcomes:
            about = f"{outcome.pictures} {outcome.backbone} {outcome.scope}"
            case = f"{outcome.protocol} T={outcome.parties} seed {outcome.seed}"
            print(
                f"{time.monotonic() - began:6.0f} s {about} {case} {outcome.method}: "
                f"{outcome.accuracy:.1%}",
                flush=True,
            )
    ordered = sorted(found, key=lambda job: (job.gallery, job.scope, job.seed))
    return Results(
        command=shlex.join(["python", "-m", "benchmarks.accuracy", *shown_arguments()]),
        machine=f"{machine(torch.get_num_threads())}, {jobs.count(args)} jobs side by side",
        seconds=round(time.monotonic() - began, 1),
        pictures={gallery.name: size_of(gallery) for gallery, _ in asked},
        records=records(outcome for job in ordered for outcome in found[job]),
        costs=spent,
    )


def size_of(gallery: Gallery) -> dict[str, int]:
    """Return the sizes of a set: labels, training images, test images."""
    return {
        "labels": len(gallery.labels),
        "train": len(gallery.train),
        "test": len(gallery.test),
    }


def shown_arguments() -> list[str]:
    """Return the command line with folders by their names, because their places are no result."""
    return [Path(word).name if "/" in word else word for word in sys.argv[1:]]


def show(results: Results, console: Console) -> None:
    """Print the tables, the aims, the machine and the time."""
    for table in tables(results.records):
        console.print()
        console.print(table)
    console.print()
    console.print(reached(reaches(results.records, results.costs)))
    about = f"{results.machine}; {results.seconds:.0f} s in all"
    console.print(about, markup=False, highlight=False)


def measure_methods(args: argparse.Namespace, console: Console) -> None:
    """Measure methods x protocols, print, write the JSON file."""
    if args.threads:
        torch.set_num_threads(args.threads)
    results = run(args, console)
    show(results, console)
    out = args.out or (None if args.quick or args.folder else RESULTS)
    if out:
        results.save(out)
        console.print(f"written to {out}; --render puts it into the documents", markup=False)


def measure(args: argparse.Namespace, console: Console) -> None:
    """Measure the parts of the command line, then print the aims of all that was measured."""
    with tempfile.TemporaryDirectory() as quick:
        folder = Path(quick) if args.quick else RESULTS.parent
        chosen = args.parts or ([parts.METHODS] if args.folder else parts.NAMES)
        if parts.METHODS in chosen:
            measure_methods(args, console)
        failed = parts.measure(chosen, args, folder, console)
        console.print(reached(aims(folder)))
    if failed:
        raise SystemExit(f"not measured, because they failed: {', '.join(failed)}")


def main() -> None:
    """Measure, print, write the JSON files; or write the documents from them."""
    args = arguments()
    console = Console(width=max(Console().width, 170))
    if args.render:
        results = Results.load(args.out or RESULTS)
        show(results, console)
        console.print(reached(aims()))
        for path in [*plots.draw(results.records, results.costs), *documents.render(results)]:
            console.print(f"written: {path}", markup=False)
        return
    measure(args, console)


if __name__ == "__main__":
    main()
