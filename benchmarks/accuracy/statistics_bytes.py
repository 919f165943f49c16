"""Measures the bytes of a component's statistics at `head2toe`, and their reading.

    python -m benchmarks.accuracy.statistics_bytes --photos photographs.tar

What a triangle takes depends on its features: they are those of pictures, by trained backbones, and
by a ViT-B whose weights are random, since this needs no download. A row of another width also says
what its bits for each entry come to at the width of a ViT-B.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import tangent
from benchmarks.accuracy.gallery import Gallery
from benchmarks.accuracy.last_block import parted
from benchmarks.accuracy.pictures import FASHION_MNIST, Pictures, fashion_mnist
from benchmarks.interleaved import RESULTS, machine
from benchmarks.photographs import photographs
from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.components.component import GRAM, SUMS, WIDTHS
from tangent.components.file_header import header_of

LARGE = "vit_base_patch16_224"
LARGE_WIDTH = 3841  # of its features at head2toe: five times 768 and the constant
ROUNDS = 5


def galleries(args: argparse.Namespace) -> Iterator[Gallery | tuple[str, Pictures]]:
    """Yield pictures with the backbones that see them; the large one by its name."""
    if args.fashion_mnist.is_dir():
        for per_label in (10, 100):
            for backbone in ("resnet_micro_32", "vit_micro_32"):
                yield Gallery(backbone, fashion_mnist(args.fashion_mnist, per_label, 1))
    if args.photos:
        few = parted(photographs(args.photos), args.photographs, 1)
        yield Gallery("tf_efficientnet_lite0", few)
        yield LARGE, few


def row(gallery: Gallery, folder: Path) -> dict[str, Any]:
    """Train a component, write its file, and measure it."""
    space = gallery.space("head2toe")
    settings = tangent.Hyperparameters.resolve(space.scope, {"l2": 1e-3})
    source = gallery.source(gallery.train)
    component = tangent.fit(space, source, settings, scratch=folder).component
    path = folder / "component.safetensors"
    component.save(path)
    header, _ = header_of(path)
    sizes = {
        name: about["data_offsets"][1] - about["data_offsets"][0]
        for name, about in header.items()
        if name != "__metadata__"
    }
    triangle, width = sizes[GRAM] + sizes.get(WIDTHS, 0), space.readout_width
    entries = width * (width + 1) // 2
    loaded = tangent.Component.load(path).statistics
    assert loaded is not None
    numbers = loaded.packed
    return {
        "pictures": gallery.name,
        "backbone": gallery.backbone_name,
        "images": len(gallery.train),
        "width": width,
        "statistics": triangle + sizes[SUMS],
        "float64": 8 * entries + sizes[SUMS],
        "bits": 8 * triangle / entries,
        "unpack": seconds(lambda: loaded.packed),
        "add": seconds(lambda: torch.zeros_like(numbers).add_(numbers)),
    }


def seconds(work: Any) -> float:
    """Return the least processor time of some rounds: what runs beside does not count."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def of_large(found: dict[str, Any]) -> float:
    """Return the megabytes of a triangle with these bits for each entry, as wide as a ViT-B's."""
    return float(found["bits"]) / 8 * LARGE_WIDTH * (LARGE_WIDTH + 1) / 2 / 1e6


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the figures, the head first."""
    shown = [
        [
            *("images", "backbone", "features", "statistics", "in float64", "bits an entry"),
            *("MB at 3,841 features", "unpacking", "adding"),
        ]
    ]
    for each in rows:
        shown.append(
            [
                f"{each['images']} of {each['pictures']}",
                f"`{each['backbone']}`",
                f"{each['width']:,}",
                f"{each['statistics'] / 1e6:.2f} MB",
                f"{each['float64'] / 1e6:.2f} MB",
                f"{each['bits']:.1f}",
                f"{of_large(each):.1f}",
                f"{1000 * each['unpack']:.1f} ms",
                f"{1000 * each['add']:.1f} ms",
            ]
        )
    return shown


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="tar of <label>/<photograph>")
    parser.add_argument("--photographs", type=int, default=32, help="of a label")
    parser.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=RESULTS / "statistics_bytes.json")
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    console, rows = Console(width=200), []
    for each in galleries(args):
        gallery = each if isinstance(each, Gallery) else Gallery(each[0], each[1], untrained)
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(gallery, Path(folder)))
        console.print(rows[-1], soft_wrap=True)
    shown = Table(*table(rows)[0])
    for line in table(rows)[1:]:
        shown.add_row(*line)
    console.print(shown)
    words = [Path(word).name if "/" in word else word for word in given or sys.argv[1:]]
    command = shlex.join(["python", "-m", "benchmarks.accuracy.statistics_bytes", *words])
    results = {"command": command, "machine": machine(1), "rows": rows}
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    console.print(f"written to {args.out}; `make measured` puts it into docs/", markup=False)


def untrained(name: str) -> Backbone:
    """Return a backbone of timm's with random weights."""
    return wrap(name, create_untrained(name, 0))


if __name__ == "__main__":
    main()
