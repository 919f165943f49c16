"""From parents to a new component: checked, put in order, merged by the method's formula."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangent.components.component import MAX_IMAGES, Component
from tangent.components.lineage import Derivation
from tangent.composition.exact_sum import is_too_large
from tangent.composition.merging.merge_method import MergeInputs, MergeMethod, Parent
from tangent.composition.merging.methods import merge_method
from tangent.composition.merging.task_vectors import HEAD, directions_type
from tangent.errors import BadDerivation, NonFinite
from tangent.spaces.determinism import run_deterministically, told_of
from tangent.spaces.space import Space
from tangent.training.augmentation import Source
from tangent.training.fit import Progress, TrainingResult


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
    """Make a component of others; the same arguments in any order of parents, the same bytes.

    `examples` are the labelled images that `atlas` fits to. The vectors are held in memory, 8 bytes
    for each entry of each parent; `refine` caches activations in `scratch` instead, and reports
    its progress.

    Raises:
        UnknownOperator, BadParameter: a method, a parameter or a value that there is not.
        BadDerivation: parents, weights or images that the method cannot use.
        FingerprintMismatch, BadComponent: a parent that does not live in this space.
        IndefiniteProblem: the best coefficients are not determined.
        NonFinite: the result holds NaN or Inf.
    """
    started = time.monotonic()
    method = merge_method(name)
    settings = method.resolve(parameters or {})
    _check(space, parents, method, examples)
    ordered, shas = _in_order(parents)
    weights = method.weigh([parent.weight for parent in ordered])
    inputs = MergeInputs(space, ordered, shas, weights, seed, examples, scratch, progress)
    merge = partial(method.merge, inputs, **settings)
    (merged, metrics), reason = run_deterministically(space.device, merge)
    if not torch.isfinite(merged).all():
        raise NonFinite(f"the result of {name} holds NaN or Inf: lower the weights or the scale")
    component = _component(inputs, merged, name, settings)
    _check_size(component, name)
    told = {"seconds": round(time.monotonic() - started, 3)}
    return TrainingResult(component, metrics | told | told_of(reason))


def _check_size(component: Component, name: str) -> None:
    """Refuse a result that is too large to be composed with others."""
    for tensor in (component.head, *component.backbone.values()):
        if is_too_large(tensor):
            raise NonFinite(
                f"the result of {name} has numbers up to {float(tensor.abs().max()):.3g}, which "
                "could not be composed with others: lower the weights or the scale"
            )


def _in_order(parents: Sequence[Parent]) -> tuple[list[Parent], list[str]]:
    """Return the parents in the order of their hashes and weights, and the hashes."""
    named = [(parent.hash(), parent) for parent in parents]
    named.sort(key=lambda pair: (pair[0], pair[1].weight is not None, pair[1].weight or 0.0))
    return [parent for _, parent in named], [sha256 for sha256, _ in named]


def _check(
    space: Space, parents: Sequence[Parent], method: MergeMethod, examples: Source | None
) -> None:
    if not parents:
        raise BadDerivation("a derivation needs at least one parent")
    for at, parent in enumerate(parents):
        space.check(parent.component)
        if parent.source is None and _lacks_images(parent.component, method):
            raise BadDerivation(
                f"operator {method.name} measures on each parent's own images, and those of parent "
                f"{at} are not given"
            )
    if method.dataset != (examples is not None):
        wants = "needs" if method.dataset else "takes no"
        raise BadDerivation(f"operator {method.name} {wants} labelled images to fit to")


def _lacks_images(component: Component, method: MergeMethod) -> bool:
    """Return whether a parent without images lacks what the method measures on them."""
    no_statistics = method.measures_images and component.statistics is None
    loss = component.hyperparameters.get("loss", "rsl")
    return no_statistics or method.needs_images(component.scope, loss)


def _component(
    inputs: MergeInputs, merged: Tensor, name: str, settings: dict[str, Any]
) -> Component:
    """Return the component of a merged vector, with its lineage."""
    components, shas, space = inputs.components, inputs.shas, inputs.space
    blocks, kind = inputs.layout.split(merged), directions_type(components)
    counts = sum((Counter(parent.labels) for parent in components), Counter[str]())
    if any(count >= MAX_IMAGES for count in counts.values()):
        raise BadDerivation("the parents claim more images of a label than can be counted: 2^53")
    ancestors = {sha for parent in components if parent.derived for sha in parent.derived.ancestors}
    weights = (parent.weight for parent in inputs.parents)
    return Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels=dict(sorted(counts.items())),
        head_labels=inputs.layout.labels,
        head=blocks.pop(HEAD).clone(),
        backbone={key: value.to(kind).clone() for key, value in sorted(blocks.items())},
        statistics=None,
        hyperparameters={},
        seed=inputs.seed,
        derived=Derivation(
            name,
            settings,
            tuple(zip(shas, weights, strict=True)),
            tuple(sorted(ancestors | set(shas))),
        ),
    )
