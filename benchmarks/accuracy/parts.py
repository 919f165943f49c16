"""The parts of `make bench-accuracy`: what each measures, and the words that it is given.

Each part writes a file of its own to benchmarks/results/, so that parts can be measured again one
by one; the table of aims reads all of them.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console

from benchmarks.interleaved import RESULTS

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


# name -> the module, its words, and the file of its results; the longest part is the first
PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], Words | None], str]] = {
    "uneven": ("benchmarks.accuracy.uneven", of_uneven, "uneven.json"),
    "last-block": ("benchmarks.accuracy.last_block", of_last_block, "last_block.json"),
    "photographs": ("benchmarks.photographs", of_photographs, "photographs.json"),
    "calibration": ("benchmarks.calibration", of_fashion, "calibration.json"),
    "privacy": ("benchmarks.privacy", of_fashion, "privacy.json"),
    "bytes": ("benchmarks.accuracy.statistics_bytes", of_bytes, "statistics_bytes.json"),
}
NAMES = (METHODS, *PARTS)


def measure(
    chosen: Sequence[str], args: argparse.Namespace, results: Path, console: Console
) -> list[str]:
    """Measure parts side by side, print what each printed when it ends; return those that failed.

    A part is a process with one thread, because most of its work is small steps one after the
    other. Times within a part are the processor's, so that neighbours do not count.
    """
    commands = {}
    for name in (name for name in PARTS if name in chosen):
        if command := command_of(name, args, results):
            commands[name] = command
        else:
            console.print(f"NOT MEASURED: {name}; give --photos or --cifar10", style="bold red")
    if commands:
        console.print(f"side by side, each shown when it ends: {', '.join(commands)}")
    failed = []
    with ThreadPoolExecutor(args.jobs or os.cpu_count()) as side_by_side:
        running = {side_by_side.submit(_run, words): name for name, words in commands.items()}
        try:
            for done in as_completed(running):
                name, (status, text) = running[done], done.result()
                console.rule(name)
                console.print(text, markup=False, highlight=False, soft_wrap=True)
                if status:
                    failed.append(name)
        except BaseException:
            side_by_side.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def command_of(name: str, args: argparse.Namespace, results: Path) -> Words | None:
    """Return the command line of a part that writes to the folder; None without images for it."""
    module, words_of, file = PARTS[name]
    words = words_of(args)
    if words is None:
        return None
    elsewhere = [] if results == RESULTS else ["--out", str(results / file)]
    return [sys.executable, "-m", module, *words, *elsewhere]


def _run(command: Words) -> tuple[int, str]:
    """Run a command with one thread; return its status and what it printed."""
    ended = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout
