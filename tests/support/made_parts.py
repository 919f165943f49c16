"""Components, compositions, removals, derivations and answers, as one hash of its bytes each.

    python -m tests.support.made_parts

writes tests/fixtures/component_hashes.json. The file there was written by commit 9246dc7. It is
written again only when the bytes are meant to change: for a new component format, or a new
fingerprint.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import tangent
from tangent.backbones.features import FINE
from tangent.composition.attribution import attribute
from tangent.composition.merging import METHODS, Parent, derive
from tests.support.arithmetic import circumstances, sha256
from tests.support.models import Source, delta_bytes, fitted, source

RECORD = Path(__file__).resolve().parents[1] / "fixtures" / "component_hashes.json"
VIT, RESNET = "vit_micro_32", "resnet_micro_32"
SHOWN = ["cat", "dog", "cat", "emu", "dog", "cat", "dog", "gnu", "cat", "dog", "emu", "gnu"]
PARTIES = (["cat", "dog", "cat", "dog"], ["dog", "emu", "emu"], ["emu", "gnu", "cat", "gnu", "gnu"])
STEPS = {"max_iterations": 2, "l2": 0.3}  # at this penalty the blocks move too, not the head alone

# The penalties that were the defaults when the bytes were recorded; a choice has changed since.
NARROW, BROAD = {"l2": 1e-4}, {"l2": 1e-3}

# Conjugate gradients ended by this criterion then; settings without one still mean it.
BEFORE = {"tolerance_of": "gradient"}

# backbone, scope, hyperparameters, declared labels
Training = tuple[str, str, dict[str, Any], tuple[str, ...]]
LINEAR: list[dict[str, Any]] = [
    NARROW,
    {"l2": 0.01, "beta": 3.0},
    {"alpha": 2.0},
    {"views": 4, **NARROW},
    {"solver": "cg"},
    {"solver": "lbfgs", "max_iterations": 20},
    {"solver": "lbfgs", "loss": "cross_entropy", "max_iterations": 20},
    {"solver": "adam", "epochs": 3, "batch_size": 5},
    {"penalty": "norm", "epochs": 2},
]
WIDE: list[dict[str, Any]] = [
    BROAD,
    {"views": 2, **BROAD},
    {"solver": "cg", "max_iterations": 20},
    {"solver": "adam", "epochs": 2},
]
BLOCKS: list[dict[str, Any]] = [
    {"solver": "cg", **STEPS},
    {"solver": "lbfgs", **STEPS},
    {"solver": "adam", "epochs": 2, "batch_size": 5},
    {"solver": "cg", "views": 2, "alpha": 2.0, "beta": 5.0, **STEPS},
]
TRAININGS: list[Training] = [
    *((backbone, "head", given, ()) for backbone in (VIT, RESNET) for given in LINEAR),
    *((backbone, "head2toe", given, ()) for backbone in (VIT, RESNET) for given in WIDE),
    *((VIT, "last-block", given, ()) for given in BLOCKS),
    *((RESNET, "last-block", given, ()) for given in BLOCKS[::2]),
    *((backbone, "last-2-blocks", BLOCKS[0], ()) for backbone in (VIT, RESNET)),
    (VIT, "all", BLOCKS[0], ()),
    (VIT, "head", NARROW, ("cat", "owl")),
    (VIT, "last-block", BLOCKS[0], ("cat", "owl")),
]
COMPOSED = ((VIT, "head"), (RESNET, "head2toe"), (VIT, "last-block"), (RESNET, "last-block"))
RULES = {
    "average": (None, None, None),
    "weighted": (0.7, -0.4, 1.3),
    "joint": (None, None, None),
    "joint weighed": (1.0, 0.25, 2.0),
}


@cache
def space(backbone: str, scope: str, declared: tuple[str, ...] = ()) -> tangent.Space:
    """Return the space of a shipped backbone on the grid that it had when bytes were recorded."""
    return tangent.Space(tangent.load_backbone(backbone), scope, declared, grid=FINE)


def trained(where: tangent.Space, data: Source, seed: int, **given: Any) -> tangent.Component:
    """Return a component trained from float32 images, as those of a service are."""
    with TemporaryDirectory() as scratch:
        shown = Source(data.pixels.float(), data.labels)
        return fitted(where, shown, Path(scratch), seed, **BEFORE | given).component


def components() -> Iterator[tuple[str, str]]:
    """Yield the SHA-256 of the file of every training, by what it was trained with."""
    data = source(32, SHOWN, 5)
    for backbone, scope, given, declared in TRAININGS:
        where = space(backbone, scope, declared)
        name = f"{backbone} {scope} {json.dumps(given)} {list(declared)}"
        yield name, _file(trained(where, data, 3, **given))


def fingerprints() -> Iterator[tuple[str, str]]:
    """Yield the fingerprint of every space."""
    for backbone, scope, declared in sorted({(b, s, d) for b, s, _, d in TRAININGS}):
        yield f"{backbone} {scope} {list(declared)}", space(backbone, scope, declared).fingerprint


@cache
def parties(backbone: str, scope: str) -> tuple[Parent, ...]:
    """Return three components with their images."""
    where, made = space(backbone, scope), []
    given = {"head": NARROW, "head2toe": BROAD}.get(scope, STEPS)
    for seed, labels in enumerate(PARTIES):
        data = source(32, labels, seed)
        shown = Source(data.pixels.float(), data.labels)
        made.append(Parent(trained(where, shown, seed, **given), source=shown))
    return tuple(made)


def _file(component: tangent.Component) -> str:
    return hashlib.sha256(component.to_bytes()).hexdigest()


def _parts(made: Sequence[Parent], weights: Sequence[float | None]) -> list[tuple[Any, Any]]:
    return list(zip((each.component for each in made), weights, strict=True))


def compositions() -> Iterator[tuple[str, str]]:
    """Yield the hash of every composed delta, and of what it answers and is taken apart into."""
    images = source(32, ["cat", "gnu", "owl", "emu"], 9).pixels.float()
    for backbone, scope in COMPOSED:
        where, made = space(backbone, scope), parties(backbone, scope)
        shas = [_file(each.component) for each in made]
        for called, weights in RULES.items():
            name, rule = f"{backbone} {scope} {called}", called.split()[0]
            parts = _parts(made, weights)
            delta = tangent.compose(where, parts, rule, shas=shas)
            yield f"{name}: delta", hashlib.sha256(delta_bytes(delta)).hexdigest()
            yield f"{name}: logits", sha256(where.logits(images, delta))
            found = attribute(where, images, parts, rule, shas=shas)
            rests = [each.logits for each in found.rests if each is not None]
            yield f"{name}: attribution", sha256(found.base.logits, *found.shares, *rests)


def restatements() -> Iterator[tuple[str, str]]:
    """Yield the file of a component without two of its images, and with other labels."""
    data = source(32, SHOWN, 5)
    pixels = data.pixels.float()
    for backbone, scope, given in [
        (VIT, "head", NARROW),
        (RESNET, "head", {"views": 4, **NARROW}),
        (RESNET, "head2toe", BROAD),
    ]:
        where = space(backbone, scope)
        whole = trained(where, data, 3, **given)
        name = f"{backbone} {scope} {json.dumps(given)}"
        labels = [SHOWN[0], SHOWN[7]]
        yield f"{name}: without", _file(tangent.without(where, whole, pixels[[0, 7]], labels))
        yield f"{name}: renamed", _file(tangent.renamed(where, whole, {"gnu": "emu", "cat": "eel"}))


def derivations() -> Iterator[tuple[str, str]]:
    """Yield the file that every operator makes of three components."""
    given: dict[str, dict[str, Any]] = {"kfac": {"iterations": 10}, "refine": {"passes": 3}}
    for scope in ("head", "last-block"):
        for name in METHODS:
            if (scope, name) == ("head", "refine"):
                continue
            wanted = METHODS[name].dataset
            examples = source(32, ["cat", "dog", "emu", "gnu", "cat", "dog"], 11)
            shown = Source(examples.pixels.float(), examples.labels)
            made = derive(
                space(VIT, scope),
                parties(VIT, scope),
                name,
                given.get(name),
                seed=4,
                examples=shown if wanted else None,
            )
            yield f"{scope} {name}", _file(made.component)


GROUPS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "fingerprints": fingerprints,
    "components": components,
    "compositions": compositions,
    "restatements": restatements,
    "derivations": derivations,
}


def main() -> None:
    """Write the record of this version on this machine."""
    torch.set_num_threads(1)
    record: dict[str, Any] = {"circumstances": circumstances()}
    record |= {name: dict(make()) for name, make in GROUPS.items()}
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
