"""Downdating: the component of a changed dataset, from its statistics and without training.

At scopes that are linear in psi, the solution of `cholesky` is a function of the exact sums G, s
and n, and so is a penalty that it chooses. When an image is removed or a label renamed, the sums
are changed and the head is solved again; the file has the bytes that training on the changed
dataset gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from tangent.components.component import Component
from tangent.components.hyperparameters import Hyperparameters
from tangent.components.statistics import Statistics, less, measure, relabelled, total
from tangent.errors import NotDowndatable
from tangent.space import Space
from tangent.training.augmentation import augmented
from tangent.training.cholesky import plain_head, settled
from tangent.vocabulary import LINEAR


def obstacle_to_downdating(scope: str, hyperparameters: Mapping[str, object]) -> str | None:
    """The reason why a component with these settings cannot be downdated; None if it can."""
    if scope not in LINEAR:
        return f"scope {scope} is not linear in fixed features"
    if hyperparameters.get("solver") != "cholesky":
        return f"solver {hyperparameters.get('solver')} iterates; cholesky does not"
    if hyperparameters.get("alpha") != 1:
        return "an alpha other than 1 weights images by their label; the sums have no such weights"
    views = hyperparameters.get("views")
    if not isinstance(views, int) or views & (views - 1):
        return f"sums over {views} views are exact for powers of two only"
    return None


def without(space: Space, component: Component, images: Tensor, labels: Sequence[str]) -> Component:
    """The component as trained without these images (n, 3, S, S) of its dataset.

    Raises:
        NotDowndatable: the component is not a function of exact sums alone, or the images are not
            from its dataset.
    """
    views = _views(component)
    features = [space.readout_alone(augmented(images, number)) for number in range(views)]
    part = total([measure(psi, labels) for psi in features], [1 / views] * views)
    return downdated(space, component, less(_statistics(component), part))


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
    if why is not None:
        raise NotDowndatable(f"the component must be trained again: {why}")
    return int(component.hyperparameters["views"])


def _statistics(component: Component) -> Statistics:
    if component.statistics is None:
        raise NotDowndatable("the component has no statistics: train it again")
    return component.statistics
