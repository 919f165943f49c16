"""Learned anisotropic scaling: one coefficient per parent and block, fitted to labelled images.

aTLAS: Zhang, Albert, Rodriguez-Opazo, van den Hengel & Abbasnejad, 2024.

    delta = sum over t and b of lambda_tb delta_t[b],      b: the head, or one parameter

The paper follows the gradient through a network. A tangent model's logits are linear in lambda, so
this is the convex problem of `fitted_weights`; its penalty towards 1/T (the rule `average`) is the
mean over the blocks. Images of labels that no parent has are left out. A row that a parent lacks
adds nothing.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.components.delta import Delta
from tangent.composition.fitted_weights import Examples, WeightFit, examples_of, uniform
from tangent.composition.logit_effects import logits_by_delta
from tangent.composition.merging.merge_method import Merged, MergeInputs, MergeMethod, Number
from tangent.composition.merging.task_vectors import HEAD, Layout, TaskVectors
from tangent.errors import BadDerivation
from tangent.spaces.space import Space
from tangent.training.activation_cache import BATCH
from tangent.training.augmentation import Source
from tangent.vocabulary import CONSTRAINTS

MAX_NUMBERS = 2**26  # images times labels times coefficients, 8 bytes each


def atlas(
    vectors: TaskVectors,
    examples: Examples,
    *,
    objective: str,
    l2: float,
    constraint: str,
    beta: float,
) -> tuple[Tensor, dict[str, Any]]:
    """The merged vector (P,), and how well it fits next to the plain average.

    `examples` are those of `block_examples`.

    Raises:
        IndefiniteProblem: no coefficients are the best ones.
    """
    count = len(vectors.layout.shapes)
    problem = WeightFit(objective, l2 * count, constraint, beta)
    weights, average = problem.solve(examples), uniform(examples)
    scales = count * weights.view(len(vectors.values), count)
    slices = vectors.layout.slices.values()
    merged = [scales[:, b] @ vectors.values[:, at] for b, at in enumerate(slices)]
    names = list(vectors.layout.shapes)
    return torch.cat(merged), {
        "num_images": len(examples),
        "training_objective": problem.value(examples, weights),
        "uniform_training_objective": problem.value(examples, average),
        "train_accuracy": examples.accuracy(weights),
        "uniform_train_accuracy": examples.accuracy(average),
        "scales": [dict(zip(names, row, strict=True)) for row in scales.tolist()],
    }


def block_examples(space: Space, components: Sequence[Component], source: Source) -> Examples:
    """Return the examples of the base's logits and of every block of every parent.

    A block counts as often as there are blocks: equal coefficients 1/(TB) are the average.

    Raises:
        BadDerivation: no image has a label of the parents, or the problem is too large.
    """
    labels = tuple(sorted({name for each in components for name in each.labels}))
    usable = [name in labels for name in source.labels]
    directions = _directions(space, components, labels)
    numbers = sum(usable) * len(labels) * len(directions)
    if not any(usable):
        raise BadDerivation("no image of the dataset has a label that one of the parents has")
    if numbers > MAX_NUMBERS:
        raise BadDerivation(
            f"{sum(usable)} images of {len(labels)} labels by {len(directions)} coefficients are "
            f"too much, the most is {MAX_NUMBERS} of the product: use fewer images or parents"
        )
    chunks, start = [], 0
    for images in source.batches(BATCH):
        kept = torch.tensor(usable[start : start + len(images)])
        start += len(images)
        if kept.any():
            found = logits_by_delta(space, images[kept], directions)
            moved = [len(directions) // len(components) * each for _, each in found]
            chunks.append((found[0][0], moved))
    truth = [labels.index(name) for name in source.labels if name in labels]
    return examples_of(chunks, truth)


def _directions(
    space: Space, components: Sequence[Component], labels: tuple[str, ...]
) -> list[Delta]:
    """Return a delta for every block of every parent, in the layout's order."""
    found = []
    for each in components:
        nothing = {name: torch.zeros_like(value) for name, value in each.backbone.items()}
        head = torch.zeros(len(labels), space.readout_width, dtype=torch.float64)
        for row, name in enumerate(labels):
            if name in each.head_labels:
                head[row] = each.head[each.head_labels.index(name)]
        for block in Layout.of(components).shapes:
            if block == HEAD:
                found.append(Delta(labels, head, nothing))
            else:
                alone = nothing | {block: each.backbone[block]}
                found.append(Delta(labels, torch.zeros_like(head), alone))
    return found


def _merge(inputs: MergeInputs, **settings: Any) -> Merged:
    assert inputs.examples is not None
    examples = block_examples(inputs.space, inputs.components, inputs.examples)
    return atlas(inputs.vectors, examples, **settings)


METHOD = MergeMethod(
    "atlas",
    _merge,
    "Zhang et al. 2024",
    {"l2": Number(1e-3, 0.0, 1e6), "beta": Number(15.0, 1e-3, 1e4)},
    {
        "objective": ("cross_entropy", "squared"),
        "constraint": tuple(name for name in CONSTRAINTS if name != "simplex"),
    },
    weights="none",
    dataset=True,
)
