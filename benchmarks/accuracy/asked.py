"""The galleries that a command line selects, each with its effort."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

import tangent
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.pictures import (
    Pictures,
    both,
    fashion_mnist,
    handwritten_digits,
    image_folder,
)
from benchmarks.accuracy.plan import QUICK, QUICK_WIDE, Effort
from benchmarks.accuracy.protocols import CLASSES, DATA, SKEWED, Protocol

VIT, RESNET = "vit_micro_32", "resnet_micro_32"
WEIGHTS = Path(__file__).parent.parent / "weights"
HALF = "resnet_micro_32_half"  # knows half of CIFAR-10's labels
UNSEEN = ("automobile", "cat", "dog", "horse", "truck")  # the other half
SETS = ("digits", "fashion-mnist", "digits+fashion-mnist", "cifar10-unseen")
QUICK_DIGITS = 25
LINEAR = Effort(scopes=tangent.LINEAR)
WIDE = Effort(seeds=2, block_seeds=1)  # of twenty labels
CONVOLVED = replace(  # a block of convolutions, which costs three times a ViT's
    WIDE, protocols=(Protocol(CLASSES, 5), Protocol(DATA, 5), Protocol(SKEWED, 10))
)


def galleries(args: argparse.Namespace, console: Console) -> Iterator[tuple[Gallery, Effort]]:
    """Yield each gallery with its effort; print which images are missing."""
    for gallery, effort in _galleries(args, console):
        yield gallery, _narrowed(effort, args)


def _galleries(args: argparse.Namespace, console: Console) -> Iterator[tuple[Gallery, Effort]]:
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
            yield Gallery(base, unseen(args.cifar10, sizes)), CONVOLVED
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


def _narrowed(effort: Effort, args: argparse.Namespace) -> Effort:
    """Return the effort within the bounds of the command line."""
    if args.scopes:
        effort = replace(effort, scopes=tuple(s for s in effort.scopes if s in args.scopes))
    if args.seeds:
        effort = replace(effort, seeds=args.seeds, block_seeds=args.seeds)
    return effort
