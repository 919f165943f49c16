"""Measures the shipped backbones on photographs and on small pictures: accuracy, and time.

    make bench-photographs PHOTOS=photographs.tar   (or: python -m benchmarks.photographs --help)

The archive has a folder a label. A seed draws each label's training and test photographs, and deals
the training ones to five parties. Each party trains a component on its own; all compose. Times are
of the processor, in one thread, so that what runs beside does not count.
"""

import argparse
import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console

import tangent
from benchmarks.accuracy.gallery import Gallery, as_images
from benchmarks.accuracy.pictures import (
    FASHION_MNIST,
    Pictures,
    fashion_mnist,
    handwritten_digits,
)
from benchmarks.accuracy.protocols import data_incremental
from benchmarks.accuracy.tangents import shas, with_settings
from benchmarks.interleaved import RESULTS, machine

BACKBONES = ("resnet_micro_32", "tf_efficientnet_lite0")
PHOTOGRAPHS = "photographs"
PARTIES = 5
BLOCK = "last-block"
PENALTIES = (1e-2, 1e-1, 1.0)  # of `joint`, beside the default
TIMED = 50  # images of one prediction
AUTO = "auto"


@dataclass(frozen=True)
class Draw:
    """Images by number: each party's own, and those to test with."""

    parts: list[np.ndarray]
    test: np.ndarray


def photographs(archive: Path) -> Pictures:
    """Read the photographs of an archive, by label and name.

    Raises:
        SystemExit: it has no folder with photographs.
    """
    found: list[tuple[str, str, Image.Image]] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None and "/" in member.name:
                image = Image.open(io.BytesIO(file.read())).convert("RGB")
                found.append((member.name.split("/")[-2], member.name, image))
    if not found:
        raise SystemExit(f"{archive} has no photographs: give a tar of <label>/<file>")
    found.sort(key=lambda each: each[:2])
    return Pictures(PHOTOGRAPHS, ([i for *_, i in found], [label for label, *_ in found]), ([], []))


def drawn(gallery: Gallery, seed: int, train: int, test: int) -> Draw:
    """Return the images of a seed: so many of each label to train and to test with."""
    generator = np.random.default_rng(seed)
    truth, own, rest = gallery.truth, [], []
    for label in range(len(gallery.labels)):
        order = generator.permutation(np.flatnonzero(truth == label))
        own.append(order[:train])
        rest.append(order[train : train + test])
    dealt = np.sort(np.concatenate(own))
    parts = data_incremental(truth[dealt], PARTIES, seed)
    return Draw([np.sort(dealt[part]) for part in parts], np.sort(np.concatenate(rest)))


def trained(
    space: tangent.Space, gallery: Gallery, draw: Draw, settings: dict[str, Any]
) -> list[tangent.TrainingResult]:
    """Train a component for each party."""
    resolved = tangent.Hyperparameters.resolve(space.scope, settings)
    with tempfile.TemporaryDirectory() as folder:
        return [
            tangent.fit(space, gallery.source(part), resolved, seed=0, scratch=Path(folder))
            for part in draw.parts
        ]


def accuracy(
    space: tangent.Space,
    gallery: Gallery,
    draw: Draw,
    fitted: Sequence[tangent.TrainingResult],
    rule: str,
) -> float:
    """Return the share of the test images that the composition answers right."""
    parts = [(each.component, None) for each in fitted]
    delta = tangent.compose(space, parts, rule, shas=shas(len(parts)))
    columns = np.array([gallery.labels.index(label) for label in delta.labels])
    best = space.logits(as_images(draw.test), delta).argmax(1).numpy()
    return float((columns[best] == gallery.truth[draw.test]).mean())


def found_at(gallery: Gallery, scope: str, draws: Sequence[Draw]) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of every rule and penalty at a scope, over the draws."""
    space = gallery.space(scope)
    shares: dict[tuple[str, str], list[float]] = {}
    for draw in draws:
        fitted = trained(space, gallery, draw, {})
        for rule in ("joint", "average"):
            at = accuracy(space, gallery, draw, fitted, rule)
            shares.setdefault((rule, "default"), []).append(at)
        if scope not in tangent.LINEAR or gallery.name != PHOTOGRAPHS:
            continue
        for l2 in (*PENALTIES, AUTO):  # the statistics do not depend on it
            given = {"choose_l2": True} if l2 == AUTO else {"l2": l2}
            changed = [with_settings(each, given) for each in fitted]
            at = accuracy(space, gallery, draw, changed, "joint")
            shares.setdefault(("joint", str(l2)), []).append(at)
    for (rule, l2), each in shares.items():
        yield {
            "pictures": gallery.name,
            "backbone": gallery.backbone_name,
            "scope": scope,
            "rule": rule,
            "l2": l2,
            "accuracies": each,
        }


def seconds_of(gallery: Gallery, scope: str) -> dict[str, Any]:
    """Return the processor's seconds that some images of a prediction take in the backbone."""
    space = tangent.open_space(gallery.backbone_name, scope)
    images = next(gallery.batches(TIMED))
    space.readout(images[:2])
    began = time.process_time()
    space.readout(images)
    return {
        "backbone": gallery.backbone_name,
        "scope": scope,
        "images": TIMED,
        "seconds": time.process_time() - began,
    }


def demo_of(backbone: str) -> dict[str, Any]:
    """Run the demo on a service with this default backbone; return its times, its own included."""
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "app.cli.demo"]
    answer = subprocess.run(
        command, env=os.environ | {"TANGENT_BACKBONE": backbone}, capture_output=True, text=True
    )
    after = os.times()
    used = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return {
        "backbone": backbone,
        "holds": answer.returncode == 0,
        "seconds": time.perf_counter() - began,
        "processor_seconds": used,
    }


def measured(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure all that the command line asks for."""
    small: tuple[int, int] = (args.small_train, args.small_test)
    sets: list[tuple[Pictures, int, int]] = [
        (photographs(args.photos), args.train, args.test),
        (whole(handwritten_digits(sum(small) * 5 // 4)), *small),
    ]
    if args.fashion_mnist.is_dir():
        sets.append((whole(fashion_mnist(args.fashion_mnist, sum(small), 1)), *small))
    accuracies: list[dict[str, Any]] = []
    seconds: list[dict[str, Any]] = []
    for pictures, train, test in sets:
        for backbone in args.backbones:
            gallery = Gallery(backbone, pictures)
            draws = [drawn(gallery, seed, train, test) for seed in range(args.seeds)]
            scopes = [s for s in args.scopes if s != BLOCK or pictures.name == PHOTOGRAPHS]
            for scope in scopes:
                some = draws if scope in tangent.LINEAR else draws[:1]
                for each in found_at(gallery, scope, some):
                    accuracies.append(each)
                    console.print(*(str(value) for value in each.values()), soft_wrap=True)
            if pictures.name == PHOTOGRAPHS:
                seconds.append(seconds_of(gallery, "head2toe"))
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return {
        "command": shlex.join(["python", "-m", "benchmarks.photographs", *words]),
        "photographs": [args.train, args.test],
        "small": list(small),
        "accuracies": accuracies,
        "seconds": seconds,
        "demo": [demo_of(backbone) for backbone in args.backbones if args.demo],
    }


def whole(pictures: Pictures) -> Pictures:
    """Return the set with all its images in one part, to be drawn from."""
    (images, names), (more, their_names) = pictures.train, pictures.test
    return replace(pictures, train=(images + more, names + their_names), test=([], []))


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="tar of <label>/<photograph>")
    parser.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, metavar="FOLDER")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--scopes", nargs="+", default=("head", "head2toe", BLOCK))
    parser.add_argument("--seeds", type=int, default=5, help="draws at scopes without a block")
    parser.add_argument("--train", type=int, default=250, help="photographs of a label")
    parser.add_argument("--test", type=int, default=100, help="photographs of a label")
    parser.add_argument("--small-train", type=int, default=50, help="small pictures of a label")
    parser.add_argument("--small-test", type=int, default=20, help="small pictures of a label")
    parser.add_argument("--demo", action="store_true", help="time the demo too, many minutes")
    parser.add_argument("--out", type=Path, default=RESULTS / "photographs.json")
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    console = Console()
    results = {"machine": machine(1), **measured(args, console)}
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"written to {args.out}; `make measured` puts it into docs/", markup=False)


if __name__ == "__main__":
    main()
