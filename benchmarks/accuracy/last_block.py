"""Measures the last block: its tangent, fine-tuning the block, and composing it in one shot.

    python -m benchmarks.accuracy.last_block --photos photographs.tar --cifar10 cifar10

The photographs' backbone sees photographs, and CIFAR-10 enlarged; a small one sees CIFAR-10's
labels that it was not trained on. `fixed penalty` is the default before the penalty was chosen.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.accuracy import blocks, fine_tuning, names, tangents
from benchmarks.accuracy.asked import HALF, UNSEEN, WEIGHTS
from benchmarks.accuracy.case import Case, Pool, Recipe
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.pictures import Pictures, image_folder
from benchmarks.accuracy.protocols import CLASSES, DATA, SKEWED, Protocol
from benchmarks.interleaved import RESULTS, machine
from benchmarks.photographs import photographs

BACKBONE = "tf_efficientnet_lite0"
BLOCK = "last-block"
FIXED = 1e-4
HEAD, JOINT, BEFORE = "head, joint training", names.JOINT_TRAINING, "joint training, fixed penalty"
TUNED = names.POOLED
COMPOSED = (names.AVERAGE, names.ONE_SHOT, names.REFINED)
RECIPE = Recipe(tolerance=1e-3, component_tolerance=1e-2)


@dataclass(frozen=True)
class Asked:
    """A set of pictures, the backbone that sees them, and how they are dealt."""

    backbone: str
    pictures: Pictures
    protocols: Sequence[Protocol]


def asked(args: argparse.Namespace, console: Console) -> Iterator[Asked]:
    """Yield what can be measured; name what cannot."""
    if args.photos:
        dealt = [Protocol(DATA, 5), Protocol(DATA, 10), Protocol(SKEWED, 5)]
        yield Asked(BACKBONE, parted(photographs(args.photos), args.train, args.test), dealt)
    else:
        console.print("NOT MEASURED: photographs; give a tar with --photos", style="bold red")
    if args.cifar10:
        every = image_folder(args.cifar10, args.train, args.test)
        dealt = [Protocol(CLASSES, 5), Protocol(CLASSES, 10), Protocol(DATA, 5)]
        yield Asked(BACKBONE, replace(every, name="cifar10, enlarged"), dealt)
        unseen = image_folder(args.cifar10, args.train, args.test, only=UNSEEN)
        half = str(WEIGHTS / f"{HALF}.safetensors")
        yield Asked(half, replace(unseen, name="cifar10-unseen"), [Protocol(CLASSES, 5)])
    else:
        console.print("NOT MEASURED: CIFAR-10; give its folder with --cifar10", style="bold red")


def parted(pictures: Pictures, train: int, test: int) -> Pictures:
    """Return the first images of each label to train with, and the last to test with."""
    images, labels = pictures.train
    own = [np.flatnonzero(np.array(labels) == label) for label in pictures.labels]
    parts = (np.concatenate([some[:train] for some in own]), [some[train:][-test:] for some in own])
    taken = [parts[0], np.concatenate(parts[1])]
    first, second = (([images[i] for i in some], [labels[i] for i in some]) for some in taken)
    return replace(pictures, train=first, test=second)


def measured(each: Asked, gallery: Gallery, seed: int) -> Iterator[tuple[str, str, float]]:
    """Yield a protocol, a method and its accuracy; of pooled training the protocol is empty."""
    pool = Pool(gallery, BLOCK, seed, RECIPE)

    def accuracy(logits: Tensor) -> float:
        return float((logits.argmax(1).numpy() == gallery.truth[gallery.test]).mean())

    head = Pool(gallery, "head", seed, RECIPE)
    yield "", HEAD, accuracy(tangents.joint_training(head).logits)
    yield "", JOINT, accuracy(tangents.joint_training(pool).logits)
    yield "", BEFORE, accuracy(tangents.joint_training(pool, BEFORE, {"l2": FIXED}).logits)
    yield "", TUNED, accuracy(fine_tuning.pooled(pool).logits)
    for protocol in each.protocols:
        case = Case(pool, protocol)
        average = tangents.average(case, names.AVERAGE, case.components)
        for answer in (average, blocks.one_shot(case), blocks.refined(case)):
            yield str(protocol), answer.method, accuracy(answer.logits)


def rows(args: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """Return the accuracies of every set, protocol and method, over the seeds."""
    found: dict[tuple[str, ...], list[float]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for each in asked(args, console):
        gallery = Gallery(each.backbone, each.pictures)
        sizes[gallery.name] = len(gallery.train), len(gallery.test)
        for seed in range(args.seeds):
            for protocol, method, share in measured(each, gallery, seed):
                key = gallery.name, gallery.backbone_name, protocol, method
                found.setdefault(key, []).append(share)
                console.print(*key, f"seed {seed}", f"{share:.1%}", highlight=False)
    return [
        {
            **dict(zip(("pictures", "backbone", "protocol", "method"), key, strict=True)),
            "train": round(0.8 * sizes[key[0]][0]),
            "test": sizes[key[0]][1],
            "accuracies": shares,
        }
        for key, shares in found.items()
    ]


def differences(found: Sequence[dict[str, Any]], method: str, to: str) -> dict[str, float]:
    """Return a method's points above joint or other pooled training, by set and protocol."""
    pooled = {(r["pictures"], r["method"]): r["accuracies"] for r in found if not r["protocol"]}
    return {
        f"{r['pictures']}, {r['backbone']}" + (f", {r['protocol']}" if r["protocol"] else ""): 100
        * float(np.mean(np.subtract(r["accuracies"], pooled[r["pictures"], to])))
        for r in found
        if r["method"] == method and (r["pictures"], to) in pooled
    }


def table(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the accuracies in percent, with the standard error of a share of the test images."""
    shown = [["images", "backbone", "trained on, tested on", "dealt", "method", "right"]]
    for r in found:
        mean = float(np.mean(r["accuracies"]))
        error = (mean * (1 - mean) / r["test"]) ** 0.5
        sizes, dealt = f"{r['train']}, {r['test']}", r["protocol"] or "to nobody"
        share = f"{100 * mean:.1f} ± {100 * error:.1f}"
        shown.append([r["pictures"], f"`{r['backbone']}`", sizes, dealt, r["method"], share])
    return shown


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="tar of <label>/<photograph>")
    parser.add_argument("--cifar10", type=Path, metavar="FOLDER")
    parser.add_argument("--train", type=int, default=60, help="images of a label")
    parser.add_argument("--test", type=int, default=60, help="images of a label")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "last_block.json")
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    console, began = Console(width=200), time.monotonic()
    found = rows(args, console)
    shown = Table(*table(found)[0])
    for row in table(found)[1:]:
        shown.add_row(*row)
    console.print(shown)
    words = [Path(word).name if "/" in word else word for word in given or sys.argv[1:]]
    about = {
        "command": shlex.join(["python", "-m", "benchmarks.accuracy.last_block", *words]),
        "machine": machine(1),
        "seconds": round(time.monotonic() - began),
        "seeds": args.seeds,
    }
    args.out.write_text(json.dumps(about | {"rows": found}, indent=1) + "\n")
    console.print(f"written to {args.out}; `make measured` puts it into docs/", markup=False)


if __name__ == "__main__":
    main()
