"""The costs of an answer, of composing and of removing as the number of parties grows.

An answer is measured in plain passes of the same backbone over the same images, taken in turn.
Composing under `joint` is measured at `head2toe` of a ViT-S, on component files in the page cache.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

import tangent
from benchmarks.accuracy.answer import timed as once
from benchmarks.accuracy.gallery import Gallery
from benchmarks.interleaved import timed
from tangent.backbones.loading import Backbone, create_untrained, wrap
from tangent.components.source import Source
from tangent.components.statistics import Statistics, less, measure
from tangent.composition.incremental import IncrementalComposition
from tangent.training import downdate

BATCH = 32  # images of one answer
PARTIES = (1, 2, 5, 10, 20, 50, 100)  # of which there are answers
ROUNDS = 5
WIDE = "vit_small_patch16_224"
COMPONENTS = 100
DISTINCT = 10  # contents; more files are copies, each with its own pages
IMAGES, LABELS = 40, 4  # of one component


def costs(gallery: Gallery, *, quick: bool = False) -> dict[str, Any]:
    """Return all costs; those of answers for one backbone."""
    backbone = gallery.backbone if quick else wrap(WIDE, create_untrained(WIDE, 0))
    components = COMPONENTS // 10 if quick else COMPONENTS
    return {"answer": answering(gallery), "joint": composing(backbone, components)}


def answering(gallery: Gallery) -> dict[str, Any]:
    """Seconds of one answer: a plain pass, and a composition at every scope."""
    images = next(gallery.batches(BATCH))
    plain = gallery.backbone.model
    spaces = {s: tangent.Space(gallery.backbone, s) for s in ("head", "head2toe", "last-block")}
    deltas = {scope: some_delta(space, gallery.labels) for scope, space in spaces.items()}
    ways: dict[str, Callable[[], Any]] = {"plain": lambda: passed(plain, images)}
    for scope, space in spaces.items():
        ways[scope] = partial(space.logits, images, deltas[scope])
    seconds = timed(ways, ROUNDS)
    return {"backbone": gallery.backbone_name, "images": len(images), "seconds": seconds}


@torch.inference_mode()
def passed(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Run one plain pass."""
    return model(images)


def some_delta(space: tangent.Space, labels: Sequence[str]) -> tangent.Delta:
    """A tangent vector of the right shapes, for timing only."""
    generator = torch.Generator().manual_seed(0)
    ordered = tuple(sorted(labels))
    head = torch.randn(len(ordered), space.readout_width, generator=generator).double()
    base = space.suffix.base if space.suffix else {}
    return tangent.Delta(
        ordered,
        head,
        {k: 1e-3 * torch.randn(p.shape, generator=generator) for k, p in base.items()},
    )


def composing(backbone: Backbone, components: int) -> dict[str, Any]:
    """Seconds of `joint`: from files, for several numbers of parts; loaded; and without one.

    A component is taken out of the sums that the last composition left, as the service does; an
    image out of its component, which is solved anew: the file that a training without it gives. Its
    pass through the backbone is not counted, nor composing again.
    """
    space = tangent.Space(backbone, "head2toe")
    counts = [count for count in PARTIES if count <= components]
    with tempfile.TemporaryDirectory() as folder:
        paths = written(space, Path(folder), components)
        by_parts = {count: composed_seconds(space, paths[:count]) for count in counts}
        parts = [tangent.Component.load(path) for path in paths]
        _, loaded = once(lambda: compose(space, parts))
        remove = removing(space, paths)
        image = measure(features(space, 0)[:1], [label_of(0, 0)])
        remove_image = timed({"image": lambda: restated(space, parts[0], image)}, ROUNDS)["image"]
    return {
        "backbone": backbone.name,
        "width": space.readout_width,
        "components": components,
        "compose_by_parts": {str(count): seconds for count, seconds in by_parts.items()},
        "compose": by_parts[components],
        "compose_loaded": loaded,
        "remove": remove,
        "remove_image": remove_image,
    }


def removing(space: tangent.Space, paths: Sequence[Path]) -> float:
    """The median over rounds of composing all but one after all, from kept sums."""
    incremental = IncrementalComposition(lambda source: tangent.Component.load(Path(source.key)))
    parts = [(Source(str(path), f"{i:064x}"), None) for i, path in enumerate(paths)]
    seconds = []
    for _ in range(ROUNDS):
        incremental.compose(space, parts, "joint")
        seconds.append(once(lambda: incremental.compose(space, parts[1:], "joint"))[1])
    return median(seconds)


def written(space: tangent.Space, folder: Path, count: int) -> list[Path]:
    """Component files with the statistics of random features."""
    paths: list[Path] = []
    for number in range(count):
        path = folder / f"{number}.safetensors"
        if number < DISTINCT:
            synthetic(space, number).save(path)
        else:
            path.write_bytes(paths[number % DISTINCT].read_bytes())
        paths.append(path)
    return paths


def synthetic(space: tangent.Space, seed: int) -> tangent.Component:
    """A component whose features are noise: what composing costs does not depend on them."""
    labels = [label_of(seed, i) for i in range(IMAGES)]
    own = dict.fromkeys(sorted(set(labels)), IMAGES // LABELS)
    return tangent.Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels=own,
        head_labels=tuple(own),
        head=torch.zeros(len(own), space.readout_width, dtype=torch.float64),
        backbone={},
        statistics=measure(features(space, seed), labels),
        hyperparameters=tangent.Hyperparameters().as_dict(),
        grid=space.stored_grid,
    )


def features(space: tangent.Space, seed: int) -> Tensor:
    """Noise on the space's grid."""
    generator = torch.Generator().manual_seed(seed)
    psi = torch.randn(IMAGES, space.readout_width, generator=generator)
    return psi if space.grid is None else space.grid.round(psi)


def label_of(seed: int, image: int) -> str:
    """The labels of a component in turn; no two components share one."""
    return f"label {LABELS * seed + image % LABELS:03}"


def restated(
    space: tangent.Space, component: tangent.Component, image: Statistics
) -> tangent.Component:
    """Return the component without the image."""
    assert component.statistics is not None
    return downdate.restated(space, component, less(component.statistics, image))


def composed_seconds(space: tangent.Space, paths: Sequence[Path]) -> float:
    """The median over rounds, files mapped anew each time."""
    work = lambda: compose(space, [tangent.Component.load(path) for path in paths])  # noqa: E731
    return median(once(work)[1] for _ in range(3))


def compose(space: tangent.Space, parts: Sequence[tangent.Component]) -> tangent.Delta:
    """Compose by `joint`."""
    shas = [f"{i:064x}" for i in range(len(parts))]
    return tangent.compose(space, [(part, None) for part in parts], "joint", shas=shas)
