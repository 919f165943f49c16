"""Measures what differential privacy costs: accuracy by epsilon, mechanism and scope.

    make bench-privacy             (or: python -m benchmarks.privacy --help)

One component is trained on 100 images of each label of Fashion-MNIST, or on the demo's digits, at
delta 1e-5, and answers by rule joint; every figure is the mean of several draws of the noise.
"No noise" is the component that is not private.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import tangent
from benchmarks.accuracy.gallery import Gallery, as_images
from benchmarks.accuracy.pictures import (
    FASHION_MNIST,
    Pictures,
    fashion_mnist,
    handwritten_digits,
)
from benchmarks.interleaved import RESULTS, machine
from tangent.components.privacy import L2, MECHANISMS
from tangent.training.privacy.public_geometry import PublicGeometry, known, public_geometry

BACKBONES = ("resnet_micro_32", "vit_micro_32")
EPSILONS = (8.0, 3.0, 1.0)
DELTA = 1e-5
TRAINED, TESTED = 100, 200  # images of a label of Fashion-MNIST
CASES = (("class_sums", "head2toe"), ("class_sums", "head"), ("adassp", "head"))
Row = dict[str, Any]


def rows(sets: list[Pictures], draws: int) -> Iterator[Row]:
    """Yield accuracies, in percent, of every case."""
    for backbone in BACKBONES:
        for pictures in sets:
            gallery = Gallery(backbone, pictures)
            for mechanism, scope in CASES:
                yield {
                    "pictures": pictures.name,
                    "images": len(gallery.train),
                    "backbone": backbone,
                    "scope": scope,
                    "mechanism": mechanism,
                    "accuracy": accuracies(gallery, scope, mechanism, draws),
                }


def accuracies(gallery: Gallery, scope: str, mechanism: str, draws: int) -> dict[str, float]:
    """Return the accuracy by epsilon, and without noise."""
    # The gallery's own space sees the images of the gallery alone.
    known[gallery.space(scope)] = _geometry(gallery.backbone_name, scope)
    found = {"none": _accuracy(gallery, scope, None)}
    for epsilon in EPSILONS:
        given = {"epsilon": epsilon, "delta": DELTA, "mechanism": mechanism}
        terms = tangent.Privacy.resolve(given, gallery.labels)
        tried = [_accuracy(gallery, scope, terms) for _ in range(draws)]
        found[f"{epsilon:g}"] = float(np.mean(tried))
    return {name: round(value, 1) for name, value in found.items()}


@cache
def _geometry(backbone: str, scope: str) -> PublicGeometry:
    return public_geometry(tangent.open_space(backbone, scope))


def _accuracy(gallery: Gallery, scope: str, terms: tangent.Privacy | None) -> float:
    space = gallery.space(scope)
    given = {} if terms is None else {"l2": L2}
    settings = tangent.Hyperparameters.resolve(scope, given)
    with tempfile.TemporaryDirectory() as folder:
        source = gallery.source(gallery.train)
        component = tangent.fit(
            space, source, settings, scratch=Path(folder), privacy=terms
        ).component
    delta = tangent.compose(space, [(component, None)], "joint", shas=[""])
    logits = space.logits(as_images(gallery.test), delta)
    columns = [delta.labels.index(name) for name in gallery.labels]
    right = logits[:, columns].argmax(1).numpy() == gallery.truth[gallery.test]
    return 100 * float(right.mean())


def table(found: list[Row]) -> Table:
    """Return the figures, one case a line."""
    shown = Table("backbone", "images", "scope", "mechanism", "no noise", *map(str, EPSILONS))
    for row in found:
        about = row["backbone"], f"{row['images']} {row['pictures']}", row["scope"]
        shown.add_row(*about, row["mechanism"], *map(str, row["accuracy"].values()))
    return shown


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--draws", type=int, default=5, help="of the noise, for every figure")
    parser.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=RESULTS / "privacy.json")
    args = parser.parse_args(given)
    assert {mechanism for mechanism, _ in CASES} == set(MECHANISMS)
    sets = [fashion_mnist(args.fashion_mnist, TRAINED, TESTED), handwritten_digits()]
    found = []
    for row in rows(sets, args.draws):
        found.append(row)
        print(json.dumps(row), flush=True)
    Console().print(table(found))
    results = {
        "machine": machine(torch.get_num_threads()),
        "delta": DELTA,
        "draws": args.draws,
        "rows": found,
    }
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
