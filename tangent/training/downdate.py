"""Downdating: the component of a changed dataset, from its statistics and without training.

At scopes that are linear in psi, the solution of `cholesky` is a function of the exact sums G, s
and n, and so is a penalty that it chooses. When images come or go, or a label is renamed, the sums
are changed and the head is solved again; the file has the bytes that training on the changed
dataset gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from tangent.components.component import Component
from tangent.components.hyperparameters import Hyperparameters, obstacle_to_downdating
from tangent.components.statistics import Statistics, less, measure, relabelled, total
from tangent.errors import NotDowndatable
from tangent.spaces.determinism import deterministic, refusal
from tangent.spaces.space import Space
from tangent.training.augmentation import augmented
from tangent.training.cholesky import plain_head, settled


def without(space: Space, component: Component, images: Tensor, labels: Sequence[str]) -> Component:
    """The component as trained without these images (n, 3, S, S) of its dataset.

    Raises:
        NotDowndatable: the component is not a function of exact sums alone, or the images are not
            from its dataset.
    """
    part = share(space, images, labels, views=_views(component))
    return changed(space, component, removed=part)


def share(space: Space, images: Tensor, labels: Sequence[str], *, views: int) -> Statistics:
    """The part of a component's statistics over its views that these images (n, 3, S, S) make.

    Raises:
        NotDowndatable: the device has no deterministic form of an operation of the backbone, so a
            training may have got other features of the same images.
    """
    try:
        with deterministic(space.device):
            features = [space.readout_alone(augmented(images, number)) for number in range(views)]
    except RuntimeError as error:
        reason = refusal(error)
        if reason is None:
            raise
        raise NotDowndatable(f"the component must be trained again: {reason}") from error
    steps = None if space.grid is None else space.grid.steps
    return total([measure(psi, labels, steps) for psi in features], [1 / views] * views)


def changed(
    space: Space,
    component: Component,
    *,
    removed: Statistics | None = None,
    added: Statistics | None = None,
) -> Component:
    """The component as trained without the images of one share and with those of the other.

    Raises:
        NotDowndatable: as `without`.
        Overflow: with the new images the features are too large for exact sums.
    """
    views = _views(component)
    statistics = _statistics(component)
    if removed is not None:
        statistics = less(statistics, removed)
    if added is not None:
        statistics = total([statistics, added], [1.0, 1.0])
        assert space.grid is not None  # the scope is linear
        space.grid.check(views * statistics.squares, views * statistics.images)
    return downdated(space, component, statistics)


def renamed(space: Space, component: Component, names: Mapping[str, str]) -> Component:
    """The component as trained with these label names; labels that get the same name are merged.

    Raises:
        NotDowndatable: as `without`.
    """
    _views(component)
    return downdated(space, component, relabelled(_statistics(component), names))


def downdated(space: Space, component: Component, statistics: Statistics) -> Component:
    """The component that training on a dataset with these statistics gives, bit for bit.

    Raises:
        NotDowndatable: as `without`, or no image is left.
    """
    views = _views(component)
    if not statistics.images:
        raise NotDowndatable("no image is left: delete the component")
    settings = Hyperparameters.resolve(space.scope, component.hyperparameters)
    labels = tuple(sorted({*statistics.labels, *space.declared}))
    # A training sums over the views of its images; a single view needs no pass over the sums.
    summed = statistics if views == 1 else total([statistics], [float(views)])
    base = space.base_rows(labels)
    settings = settled(summed, labels, base, settings)
    return replace(
        component,
        labels={name: int(count) for name, count in statistics.counts.items()},
        head_labels=labels,
        head=plain_head(summed, labels, base, settings),
        statistics=statistics,
        hyperparameters=settings.as_dict(),
    )


restated = downdated  # the former name


def _views(component: Component) -> int:
    why = obstacle_to_downdating(component.scope, component.hyperparameters)
    if component.privacy is not None:
        raise NotDowndatable(
            "a private component does not change with its data, or both versions together would "
            "tell what changed: delete it, or train another one from the changed data"
        )
    if why is not None:
        raise NotDowndatable(f"the component must be trained again: {why}")
    return int(component.hyperparameters["views"])


def _statistics(component: Component) -> Statistics:
    if component.statistics is None:
        raise NotDowndatable("the component has no statistics: train it again")
    return component.statistics
