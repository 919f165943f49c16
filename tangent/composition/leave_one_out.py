"""Scores of training images, each by the model that was never trained on it; no refit.

The square loss makes it exact (Allen 1974, PRESS): with e = y - h(x) the residual of the model of
all images, and t = psiᵀ (G + c I)⁻¹ psi the image's leverage,

    y - h_without(x) = e / (1 - w t) (eq. 7),        w: the image's weight in the sums,

for every label. The penalty c stays that of all images, and so do the labels. Equal images in
several components, or under several labels, are taken out together: their weights add, and y is
the mean of their targets.

`joint` has one such problem; for `discriminant` see `discriminant_left_out`. Under `average` and
`weighted` the answer is a sum, and an image is taken out of the components that were trained on
it, each by its own problem.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tangent.components.component import Component
from tangent.composition.compose import Part, divisor, lambdas, pooled
from tangent.composition.discriminant import summed
from tangent.composition.discriminant_left_out import scores_left_out
from tangent.composition.joint import all_base_rows, statistics_of
from tangent.composition.leverage import left_out, leverages
from tangent.errors import NotLeftOut
from tangent.solvers.ridge import factor, substituted
from tangent.spaces.space import Space
from tangent.vocabulary import OF_STATISTICS


class Copy(NamedTuple):
    """An image's place among the training images of a selection."""

    part: int  # the component's place in the selection
    label: str


class LeftOut(NamedTuple):
    """The scores of images, each by the model without it."""

    labels: tuple[str, ...]  # of the columns
    scores: Tensor  # (n, K) float64


Copies = Sequence[Sequence[Copy]]  # of every image, at least one


def scores_without(
    space: Space,
    parts: Sequence[Part],
    rule: str,
    psi: Tensor,
    copies: Copies,
    lower: Tensor | None = None,
) -> LeftOut:
    """Return the scores of training images psi (n, D), each with all its copies left out.

    `lower`: the factor of the problem of rule `joint`, if it is known.

    Raises:
        NotLeftOut: the answer is not that of sums of products of psi.
    """
    if not space.joint_is_exact:
        raise NotLeftOut(f"an image cannot be left out exactly at scope {space.scope}")
    weights = lambdas([weight for _, weight in parts], rule)
    components = [component for component, _ in parts]
    for at in {copy.part for each in copies for copy in each}:
        _check(components[at], rule)
    labels = tuple(
        sorted({n for part, w in zip(components, weights, strict=True) if w for n in part.labels})
    )
    psi = psi.double().cpu()
    if rule == "discriminant":
        return LeftOut(labels, _of_discriminant(space, components, weights, labels, psi, copies))
    if rule == "joint":
        return LeftOut(labels, _of_pool(space, components, weights, labels, psi, copies, lower))
    shares = [weight / divisor(rule, len(parts)) for weight in weights]
    return LeftOut(labels, _of_sum(space, components, shares, labels, psi, copies))


def check_rows(component: Component) -> None:
    """Check that each image of the component is one row of its sums.

    Raises:
        NotLeftOut: it is not, so that it cannot be taken out.
    """
    if component.privacy is not None:
        raise NotLeftOut("a private component cannot be asked about a single image of its data")
    if component.hyperparameters.get("views", 1) != 1:
        raise NotLeftOut("a component was trained on several views of each image")
    if component.statistics is None:
        raise NotLeftOut("a component carries no statistics of its images")


def _check(component: Component, rule: str) -> None:
    check_rows(component)
    settings = component.hyperparameters
    plain = settings["loss"], settings["penalty"], settings["alpha"]
    if rule not in OF_STATISTICS and plain != ("rsl", "squared", 1.0):
        raise NotLeftOut(
            f"rule {rule} needs components of loss rsl with alpha 1 and penalty squared to leave "
            "an image out exactly: use rule joint"
        )


def _of_pool(
    space: Space,
    components: Sequence[Component],
    weights: Sequence[float],
    labels: tuple[str, ...],
    psi: Tensor,
    copies: Copies,
    lower: Tensor | None,
) -> Tensor:
    """Return the scores under rule `joint`."""
    problem = pooled(space, [pair for pair in zip(components, weights, strict=True) if pair[1]])
    base = all_base_rows(space, labels)
    lower = factor(problem.gram, problem.ridge(base)) if lower is None else lower
    rows = base[: len(labels)]
    delta = substituted(lower, (problem.targets - rows @ problem.gram).T).T
    own = [[(weights[part], components[part], name) for part, name in each] for each in copies]
    return _without(psi, rows + delta, lower, _targets(own, labels))


def _of_discriminant(
    space: Space,
    components: Sequence[Component],
    weights: Sequence[float],
    labels: tuple[str, ...],
    psi: Tensor,
    copies: Copies,
) -> Tensor:
    """Return the scores under rule `discriminant`."""
    sums = summed(space, [pair for pair in zip(components, weights, strict=True) if pair[1]])
    removed = [
        [(labels.index(name), weights[part]) for part, name in each if weights[part]]
        for each in copies
    ]
    return scores_left_out(sums.label_sums(), sums.ridge(), psi, removed)


def _of_sum(
    space: Space,
    components: Sequence[Component],
    shares: Sequence[float],
    labels: tuple[str, ...],
    psi: Tensor,
    copies: Copies,
) -> Tensor:
    """Return the scores under rules `average` and `weighted`."""
    scores = psi @ space.base_rows(labels).T
    for at, (component, share) in enumerate(zip(components, shares, strict=True)):
        if not share:
            continue
        names = component.head_labels
        columns = [labels.index(name) for name in names if name in labels]
        shown = [row for row, name in enumerate(names) if name in labels]
        base = space.base_rows(names)
        moved = psi @ component.head.double().T
        images = [row for row, each in enumerate(copies) if any(part == at for part, _ in each)]
        if images:
            own = [[(1.0, component, n) for p, n in copies[row] if p == at] for row in images]
            lower, features = _own_curvature(component), psi[images]
            without = _without(features, base + component.head, lower, _targets(own, names))
            moved[images] = without - features @ base.T
        scores[:, columns] += share * moved[:, shown]
    return scores


def _own_curvature(component: Component) -> Tensor:
    """Return the factor of the problem that the component alone was trained by."""
    statistics, l2 = statistics_of(component), float(component.hyperparameters["l2"])
    ridge = 0.5 * l2 * statistics.images * len(component.head_labels)
    return factor(statistics.gram, ridge)


class _Targets(NamedTuple):
    """The share of images in a problem's sums."""

    weights: Tensor  # (n,)
    targets: Tensor  # (n, K), each the weighted sum of its copies' targets


def _targets(
    copies: Sequence[Sequence[tuple[float, Component, str]]], labels: Sequence[str]
) -> _Targets:
    weights = torch.zeros(len(copies), dtype=torch.float64)
    targets = torch.zeros(len(copies), len(labels), dtype=torch.float64)
    for row, each in enumerate(copies):
        for weight, component, label in each:
            if weight:
                weights[row] += weight
                beta = float(component.hyperparameters["beta"])
                targets[row, labels.index(label)] += weight * beta
    return _Targets(weights, targets)


def _without(psi: Tensor, head: Tensor, lower: Tensor, own: _Targets) -> Tensor:
    """Return the scores (n, K) by the head (K, D) of all images, each image taken out."""
    scores = psi @ head.T
    residuals = own.targets - own.weights[:, None] * scores
    return scores - left_out(leverages(lower, psi), own.weights)[:, None] * residuals
