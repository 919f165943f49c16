"""Measures even and uneven labels, few and many images: the rules and their penalty, and others'.

    make bench-accuracy ARGS="--parts uneven"     (or: python -m benchmarks.accuracy.uneven --help)

A seed draws training images, as many of each label, or of label j a share of 0.6^j in shuffled
order. All methods see the same features. `own` is the accuracy if labels come as often as in
training, `balanced` if they come equally often. Others' settings are chosen by cross-validation.
Few images differ much from draw to draw, so there are more draws of them.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegressionCV, RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold

import tangent
from benchmarks.accuracy.gallery import Gallery, as_images
from benchmarks.accuracy.pictures import (
    FASHION_MNIST,
    fashion_mnist,
    handwritten_digits,
    image_folder,
)
from benchmarks.accuracy.simple import class_means
from benchmarks.accuracy.tangents import with_settings
from benchmarks.interleaved import RESULTS, machine

SHARE, MIN_IMAGES = 0.6, 2  # of those of the next more common label; of each label
DEFAULT = "resnet_micro_32"
BACKBONES = (DEFAULT, "vit_micro_32")
UNEVEN_SIZE = 250
FEW, MANY = 300, 10_000  # images: of so few there are more draws, of more than MANY one
FIXED = {"head": 1e-4, "head2toe": 1e-3}  # the penalty that was the default before
JOINT, DISCRIMINANT, FIXED_JOINT = "joint", "discriminant", "joint, fixed penalty"
RIDGE, LOGISTIC = "RidgeClassifierCV", "LogisticRegressionCV"
LDA, MEANS = "LinearDiscriminantAnalysis", "nearest class mean"
METHODS = (JOINT, FIXED_JOINT, RIDGE, LOGISTIC, DISCRIMINANT, LDA, MEANS)


@dataclass(frozen=True)
class Cell:
    """Images, a backbone, a scope, and how many images of which evenness are drawn."""

    gallery: Gallery
    scope: str
    size: int
    even: bool


def draws(size: int, seeds: int) -> int:
    """Return how many draws there are of so many images; `seeds` of a usual number."""
    return 1 if size > MANY else 4 * seeds if size <= FEW else seeds


def shares_of(labels: int, even: bool) -> np.ndarray:
    """Return the labels' shares of the training images, the largest first."""
    shares = np.ones(labels) if even else SHARE ** np.arange(labels)
    return shares / shares.sum()


def drawn(truth: np.ndarray, size: int, even: bool, seed: int) -> np.ndarray:
    """Return the numbers of a seed's training images, at least MIN_IMAGES of each label."""
    generator, labels = np.random.default_rng(seed), int(truth.max()) + 1
    shares = shares_of(labels, even)
    shares = shares if even else generator.permutation(shares)
    counts = np.maximum(np.round(size * shares).astype(int), MIN_IMAGES)
    return np.concatenate(
        [
            generator.permutation(np.flatnonzero(truth == label))[:count]
            for label, count in enumerate(counts)
        ]
    )


def measured(cell: Cell, seed: int) -> dict[str, tuple[float, float]]:
    """Return each method's accuracy on test images, own and balanced."""
    gallery, space = cell.gallery, cell.gallery.space(cell.scope)
    chosen = drawn(gallery.truth[gallery.train], cell.size, cell.even, seed)
    truth, wanted = gallery.truth[chosen], gallery.truth[gallery.test]
    shares = np.bincount(truth, minlength=len(gallery.labels)) / len(truth)

    def accuracies(scores: np.ndarray) -> tuple[float, float]:
        hits = scores.argmax(1) == wanted
        recalls = np.array([hits[wanted == label].mean() for label in range(len(shares))])
        return float(recalls @ shares), float(recalls.mean())

    features, unseen = (
        space.readout(as_images(some)).double().numpy()[:, :-1] for some in (chosen, gallery.test)
    )
    found = composed(gallery, cell.scope, chosen) | others(features, truth, unseen)
    return {name: accuracies(scores) for name, scores in found.items()}


def composed(gallery: Gallery, scope: str, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of the test images by the rules, in the order of the gallery's labels."""
    space, settings = gallery.space(scope), tangent.Hyperparameters.resolve(scope, {})
    with tempfile.TemporaryDirectory() as folder:
        part = tangent.fit(space, gallery.source(chosen), settings, scratch=Path(folder))
    fixed = with_settings(part, {"choose_l2": False, "l2": FIXED[scope]})
    scores = {}
    for name, rule, each in (
        (JOINT, "joint", part),
        (FIXED_JOINT, "joint", fixed),
        (DISCRIMINANT, "discriminant", part),
    ):
        delta = tangent.compose(space, [(each.component, None)], rule, shas=["0"])
        columns = [delta.labels.index(label) for label in gallery.labels]
        scores[name] = space.logits(as_images(gallery.test), delta).numpy()[:, columns]
    return scores


def others(features: np.ndarray, truth: np.ndarray, unseen: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of scikit-learn's methods, and of class means."""
    means = class_means(features, truth, int(truth.max()) + 1)
    found = {MEANS: unseen @ means.T - 0.5 * (means**2).sum(1)}
    features, unseen = rotated(features, unseen)
    folds = StratifiedKFold(min(3, int(np.bincount(truth).min())), shuffle=True, random_state=0)
    for name, model in (
        (RIDGE, RidgeClassifierCV(alphas=10.0 ** np.arange(-4, 6))),
        (
            LOGISTIC,
            LogisticRegressionCV(
                Cs=10.0 ** np.arange(-4, 3),
                cv=folds,
                max_iter=500,
                tol=1e-3,
                l1_ratios=(0,),
                use_legacy_attributes=False,
                scoring="accuracy",
            ),
        ),
        (
            LDA,
            LinearDiscriminantAnalysis("lsqr", "auto", priors=np.full(len(means), 1 / len(means))),
        ),
    ):
        scores = model.fit(features, truth).decision_function(unseen)
        found[name] = np.stack([-scores, scores], 1) if scores.ndim == 1 else scores
    return found


def rotated(features: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return fewer features where there are more than images: no method can tell the difference."""
    if len(features) >= features.shape[1]:
        return features, unseen
    axes = np.linalg.svd(features, full_matrices=False)[2]
    return features @ axes.T, unseen @ axes.T


def cells(args: argparse.Namespace, console: Console) -> Iterator[Cell]:
    """Yield the cells of the command line; those of one gallery follow each other."""
    sets = [handwritten_digits()]
    if args.fashion_mnist.is_dir():
        most = max(args.sizes) * 4 // 10
        sets.append(fashion_mnist(args.fashion_mnist, max(most, 200), args.test_per_label))
    else:
        console.print(f"without Fashion-MNIST, which is not at {args.fashion_mnist}", markup=False)
    for pictures in sets:
        for backbone in args.backbones:
            gallery = Gallery(backbone, pictures)
            if backbone == DEFAULT:
                yield from sized(gallery, "head2toe", args.sizes)
            for scope in ("head", "head2toe"):
                yield Cell(gallery, scope, UNEVEN_SIZE, even=False)
    for path in args.folder:
        pictures = image_folder(path, 150, 50)
        gallery = Gallery(args.backbone, pictures)
        for scope in ("head", "head2toe"):
            yield from sized(gallery, scope, [size for size in args.sizes if size <= 1000])


def sized(gallery: Gallery, scope: str, sizes: Sequence[int]) -> Iterator[Cell]:
    """Yield the cells of the sizes for which every label has images, even and uneven."""
    labels = gallery.truth[gallery.train]
    for size in sizes:
        for even in (True, False):
            most = size * shares_of(len(gallery.labels), even).max()
            if size <= len(labels) and (size < MANY or most <= np.bincount(labels).min()):
                yield Cell(gallery, scope, size, even)


def record(cell: Cell, seeds: int) -> dict[str, Any]:
    """Measure a cell by `draws`."""
    found = [measured(cell, seed) for seed in range(draws(cell.size, seeds))]
    return {
        "pictures": cell.gallery.name,
        "backbone": cell.gallery.backbone_name,
        "scope": cell.scope,
        "images": cell.size,
        "labels": "even" if cell.even else "uneven",
        "draws": len(found),
        "own": {name: 100 * float(np.mean([f[name][0] for f in found])) for name in METHODS},
        "balanced": {name: 100 * float(np.mean([f[name][1] for f in found])) for name in METHODS},
    }


def penalty_gap(each: dict[str, Any], method: str = JOINT) -> float:
    """Points of `joint` above scikit-learn's better one, labels as often as in training."""
    own: dict[str, float] = each["own"]
    return own[method] - max(own[RIDGE], own[LOGISTIC])


def balance_gap(each: dict[str, Any]) -> float:
    """Points of `discriminant` above the best of the rest, labels equally often."""
    balanced: dict[str, float] = each["balanced"]
    return balanced[DISCRIMINANT] - max(balanced[name] for name in (FIXED_JOINT, JOINT, LDA, MEANS))


def table(records: Sequence[dict[str, Any]], what: str) -> list[list[str]]:
    """Return the accuracies of all cells, the head first."""
    head = ["images", "backbone", "scope", "n", "labels", "draws", *METHODS]
    keys = ("pictures", "backbone", "scope", "images", "labels", "draws")
    return [
        head,
        *[
            [*(str(each[key]) for key in keys), *(f"{each[what][name]:.1f}" for name in METHODS)]
            for each in records
        ],
    ]


def reached(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return aims next to what was measured, the head first."""
    uneven = [balance_gap(each) for each in records if each["images"] == UNEVEN_SIZE]
    shown = [["aim", "wanted", "measured"]]
    for name, method in (("the default penalty", JOINT), ("the fixed penalty before", FIXED_JOINT)):
        gaps = [penalty_gap(each, method) for each in records if each["images"] != UNEVEN_SIZE]
        shown.append(
            [
                f"`joint`, {name}, against the better of RidgeClassifierCV and "
                f"LogisticRegressionCV, own accuracy, {len(gaps)} cells",
                "worst ≥ −1",
                f"worst {min(gaps, default=0):+.1f}, mean {np.mean(gaps or [0]):+.1f}",
            ]
        )
    shown.append(
        [
            f"`discriminant` against the best of joint, LDA and class means, balanced accuracy at "
            f"imbalance 0.6^j, {len(uneven)} cells",
            "worst ≥ −1, mean ≥ 0",
            f"worst {min(uneven, default=0):+.1f}, mean {np.mean(uneven or [0]):+.1f}",
        ]
    )
    return shown


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="few images, one seed; minutes")
    parser.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, metavar="FOLDER")
    parser.add_argument("--folder", type=Path, action="append", default=[], help="more images")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", help="for --folder")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="for the small pictures")
    parser.add_argument("--sizes", type=int, nargs="+", default=(50, 300, 1200, 50_000))
    parser.add_argument("--test-per-label", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON; benchmarks/results/uneven.json")
    args = parser.parse_args(given)
    if args.quick:
        args.seeds, args.sizes, args.backbones = 1, (50, 300), (DEFAULT,)
    torch.set_num_threads(1)
    console, began, records = Console(width=200), time.monotonic(), []
    for cell in cells(args, console):
        records.append(record(cell, args.seeds))
        console.print(*(str(value) for value in list(records[-1].values())[:5]), highlight=False)
    for rows in (table(records, "own"), table(records, "balanced"), reached(records)):
        shown = Table(*rows[0])
        for row in rows[1:]:
            shown.add_row(*row)
        console.print(shown)
    out = args.out or (None if args.quick else RESULTS / "uneven.json")
    if out:
        words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
        about = {
            "command": shlex.join(["python", "-m", "benchmarks.accuracy.uneven", *words]),
            "machine": machine(1),
            "seconds": round(time.monotonic() - began),
        }
        out.write_text(json.dumps(about | {"records": records}, indent=2) + "\n")
        console.print(f"written to {out}; `make measured` puts it into docs/", markup=False)


if __name__ == "__main__":
    main()
