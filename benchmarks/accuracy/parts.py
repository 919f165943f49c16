"""The parts of `make bench-accuracy`: what each measures, and the words that it is given.

Each part writes a file of its own to benchmarks/results/, so that parts can be measured again one
by one; the table of aims reads all of them.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import calibration, photographs, privacy
from benchmarks.accuracy import last_block, statistics_bytes, uneven

Words = list[str]
METHODS = "methods"


def of_fashion(args: argparse.Namespace) -> Words:
    """Return the words that name Fashion-MNIST's folder."""
    return ["--fashion-mnist", str(args.fashion_mnist)]


def of_uneven(args: argparse.Namespace) -> Words:
    """Return the words of the part on uneven labels and the penalty."""
    words = of_fashion(args)
    for folder in [args.cifar10] if args.cifar10 else []:
        words += ["--folder", str(folder)]
    return [*words, "--quick"] if args.quick else words


def of_photographs(args: argparse.Namespace) -> Words | None:
    """Return the words of the part on photographs; None without any."""
    words = ["--photos", str(args.photos), *of_fashion(args)]
    return ([*words, "--seeds", "1"] if args.quick else words) if args.photos else None


def of_last_block(args: argparse.Namespace) -> Words | None:
    """Return the words of the part on the last block; None without images for it."""
    words = ["--photos", str(args.photos)] if args.photos else []
    words += ["--cifar10", str(args.cifar10)] if args.cifar10 else []
    small = ["--train", "20", "--test", "20", "--seeds", "1"] if args.quick else []
    return [*words, *small] if words else None


def of_bytes(args: argparse.Namespace) -> Words:
    """Return the words of the part on the bytes of statistics."""
    return of_fashion(args) + (["--photos", str(args.photos)] if args.photos else [])


Main = Callable[[Sequence[str]], None]
# name -> the command, its words, and the file of its results
PARTS: dict[str, tuple[Main, Callable[[argparse.Namespace], Words | None], str]] = {
    "calibration": (calibration.main, of_fashion, "calibration.json"),
    "uneven": (uneven.main, of_uneven, "uneven.json"),
    "photographs": (photographs.main, of_photographs, "photographs.json"),
    "last-block": (last_block.main, of_last_block, "last_block.json"),
    "bytes": (statistics_bytes.main, of_bytes, "statistics_bytes.json"),
    "privacy": (privacy.main, of_fashion, "privacy.json"),
}
NAMES = (METHODS, *PARTS)


def measure(name: str, args: argparse.Namespace, results: Path, console: Console) -> None:
    """Measure a part, and write its results to the folder."""
    main, words_of, file = PARTS[name]
    words = words_of(args)
    if words is None:
        console.print(f"NOT MEASURED: {name}; give --photos or --cifar10", style="bold red")
        return
    console.rule(name)
    main([*words, "--out", str(results / file)])
