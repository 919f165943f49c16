"""From parents to a new component: checked, put in order, merged by the operator's formula."""

import hashlib
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.lineage import Derivation
from tangent.errors import BadDerivation, NonFinite
from tangent.merging.atlas import atlas, gathered
from tangent.merging.breadcrumbs import breadcrumbs
from tangent.merging.dare import dare
from tangent.merging.fisher import fisher
from tangent.merging.fisher_information import Data
from tangent.merging.kfac import kfac
from tangent.merging.operators import needs_images, operator, resolve, weigh
from tangent.merging.pcb import pcb
from tangent.merging.regmean import regmean
from tangent.merging.task_arithmetic import task_arithmetic
from tangent.merging.task_vectors import HEAD, Layout, Vectors, directions_type
from tangent.merging.ties import ties
from tangent.space import Space
from tangent.training.augmentation import Source
from tangent.training.fit import Progress, TrainingResult
from tangent.training.refine import refine
from tangent.vocabulary import LINEAR


@dataclass(frozen=True)
class Parent:
    """A component to derive from."""

    component: Component
    weight: float | None = None  # 1 if the operator takes weights
    source: Source | None = None  # its images, for operators that measure on them
    sha256: str | None = None  # of its file; of the file that it would have, if not given

    def hash(self) -> str:
        """What names it in the record."""
        return self.sha256 or hashlib.sha256(self.component.to_bytes()).hexdigest()


def derive(
    space: Space,
    parents: Sequence[Parent],
    name: str,
    parameters: dict[str, Any] | None = None,
    *,
    seed: int = 0,
    examples: Source | None = None,
    scratch: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainingResult:
    """A component made of others by the operator; the same arguments in any order, the same bytes.

    `examples` are the labelled images that `atlas` fits to. The vectors are held in memory, 8 bytes
    for each entry of each parent; `refine` caches activations in `scratch` instead, and tells of
    its progress.

    Raises:
        UnknownOperator, BadParameter: as `resolve`.
        BadDerivation: parents, weights or images that the operator cannot do with.
        FingerprintMismatch, BadComponent: a parent that does not live in this space.
        IndefiniteProblem: the best coefficients are not determined.
        NonFinite: the result holds NaN or Inf.
    """
    started = time.monotonic()
    settings = resolve(name, parameters or {})
    _check(space, parents, name, examples)
    named = [(parent.hash(), parent) for parent in parents]
    named.sort(key=lambda each: (each[0], each[1].weight is not None, each[1].weight or 0.0))
    shas, ordered = [sha256 for sha256, _ in named], [parent for _, parent in named]
    components = [parent.component for parent in ordered]
    layout = Layout.of(components)
    if name == "refine":
        merged, metrics = _refined(space, ordered, layout, settings, scratch, progress)
    else:
        vectors = Vectors.of(components, weigh(name, [parent.weight for parent in ordered]))
        merged, metrics = _merged(space, ordered, vectors, name, settings, seed, shas, examples)
    if not torch.isfinite(merged).all():
        raise NonFinite(f"the result of {name} holds NaN or Inf: lower the weights or the scale")
    blocks, kind = layout.split(merged), directions_type(components)
    ancestors = {sha for each in components if each.derived for sha in each.derived.ancestors}
    counts = sum((Counter(each.labels) for each in components), Counter[str]())
    component = Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels=dict(sorted(counts.items())),
        head_labels=layout.labels,
        head=blocks.pop(HEAD).clone(),
        backbone={key: value.to(kind).clone() for key, value in sorted(blocks.items())},
        statistics=None,
        hyperparameters={},
        seed=seed,
        derived=Derivation(
            name,
            settings,
            tuple((sha256, parent.weight) for sha256, parent in named),
            tuple(sorted(ancestors | set(shas))),
        ),
    )
    return TrainingResult(component, metrics | {"seconds": round(time.monotonic() - started, 3)})


def _check(space: Space, parents: Sequence[Parent], name: str, examples: Source | None) -> None:
    if not parents:
        raise BadDerivation("a derivation needs at least one parent")
    for at, parent in enumerate(parents):
        space.check(parent.component)
        if parent.weight is not None and not math.isfinite(parent.weight):
            raise BadDerivation(f"the weight of parent {at} is not a finite number")
        loss = parent.component.hyperparameters.get("loss", "rsl")
        if parent.source is None and _lacks_data(parent.component, name, loss):
            raise BadDerivation(
                f"operator {name} measures on each parent's own images, and those of parent {at} "
                "are not given"
            )
    if name == "refine" and space.scope in LINEAR:
        raise BadDerivation(
            f"there is nothing to refine at scope {space.scope}: rule joint is exact there"
        )
    if operator(name).dataset != (examples is not None):
        wants = "needs" if operator(name).dataset else "takes no"
        raise BadDerivation(f"operator {name} {wants} labelled images to fit to")


def _lacks_data(component: Component, name: str, loss: str) -> bool:
    """Whether the parent cannot do without its images."""
    no_statistics = operator(name).parents_data and component.statistics is None
    return no_statistics or needs_images(name, component.scope, loss)


def _merged(
    space: Space,
    parents: Sequence[Parent],
    vectors: Vectors,
    name: str,
    settings: dict[str, Any],
    seed: int,
    shas: Sequence[str],
    examples: Source | None,
) -> tuple[Tensor, dict[str, Any]]:
    """The operator's result, and what it tells of it."""
    if name == "atlas":
        assert examples is not None
        parts = [parent.component for parent in parents]
        return atlas(vectors, gathered(space, parts, examples), **settings)
    if operator(name).parents_data:
        return _measured(space, parents, vectors, name, dict(settings), seed), {}
    if name == "dare":
        return dare(vectors, **settings, seed=seed, shas=shas), {}
    formulas: dict[str, Callable[..., Tensor]] = {
        "task_arithmetic": task_arithmetic,
        "ties": ties,
        "breadcrumbs": breadcrumbs,
        "pcb": pcb,
    }
    return formulas[name](vectors, **settings), {}


def _refined(
    space: Space,
    parents: Sequence[Parent],
    layout: Layout,
    settings: dict[str, Any],
    scratch: Path | None,
    progress: Callable[[Progress], None],
) -> tuple[Tensor, dict[str, Any]]:
    """The joint optimum of the parents' images, as a vector."""
    parts = [(each.component, each.weight, each.source) for each in parents if each.source]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        found = refine(space, parts, **settings, scratch=Path(folder), progress=progress)
    return layout.flat(found.labels, {HEAD: found.head} | found.backbone), found.metrics


def _measured(
    space: Space,
    parents: Sequence[Parent],
    vectors: Vectors,
    name: str,
    settings: dict[str, Any],
    seed: int,
) -> Tensor:
    """The result of an operator that measures on the parents' images."""
    images, layout = settings.pop("images"), vectors.layout
    data = [Data(space, parent.component, parent.source, images, seed) for parent in parents]
    if name == "fisher":
        return fisher(
            vectors,
            torch.stack([layout.flat(d.component.head_labels, d.diagonal()) for d in data]),
        )
    if name == "regmean":
        return regmean(vectors, [each.grams() for each in data], **settings)
    bent = [each.kronecker() for each in data]
    for each, one in zip(data, bent, strict=True):
        rows, curvature = layout.rows(each.component.head_labels), one[HEAD]
        one[HEAD] = curvature.on_rows(rows, len(layout.labels))
    return kfac(vectors, bent, **settings)
