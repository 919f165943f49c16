"""A component as it would be, had its dataset been another: made from its statistics, no training.

At scopes that are linear in psi, what `cholesky` finds is a function of the exact sums G, s and n,
and so is a penalty that it chooses. So when an image goes or a label gets another name, the sums
are changed and the head solved again; the file has the bytes that a training on the changed dataset
gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from tangent.components.component import Component
from tangent.components.hyperparameters import Hyperparameters
from tangent.components.statistics import Statistics, less, measure, relabelled, total
from tangent.errors import NotRestatable
from tangent.space import Space
from tangent.training.augmentation import view
from tangent.training.cholesky import plain_head, settled
from tangent.vocabulary import LINEAR


def why_not(scope: str, hyperparameters: Mapping[str, object]) -> str | None:
    """What stands against restating a component trained so; None if nothing does."""
    if scope not in LINEAR:
        return f"scope {scope} is not linear in fixed features"
    if hyperparameters.get("solver") != "cholesky":
        return f"solver {hyperparameters.get('solver')} iterates; cholesky does not"
    if hyperparameters.get("alpha") != 1:
        return "an alpha other than 1 weights images by their label, which the sums do not tell"
    views = hyperparameters.get("views")
    if not isinstance(views, int) or views & (views - 1):
        return f"sums over {views} views are exact for powers of two only"
    return None


def without(space: Space, component: Component, images: Tensor, labels: Sequence[str]) -> Component:
    """The component had it not been trained on these of its images (n, 3, S, S).

    Raises:
        NotRestatable: training it was more than a function of exact sums, or these images were not
            among its own.
    """
    views = _views(component)
    shown = [space.readout_alone(view(images, number)) for number in range(views)]
    part = total([measure(psi, labels) for psi in shown], [1 / views] * views)
    return restated(space, component, less(_statistics(component), part))


def renamed(space: Space, component: Component, names: Mapping[str, str]) -> Component:
    """The component had its labels been called otherwise; those that get one name are merged.

    Raises:
        NotRestatable: as `without`.
    """
    _views(component)
    return restated(space, component, relabelled(_statistics(component), names))


def restated(space: Space, component: Component, statistics: Statistics) -> Component:
    """The component that training on a dataset with these statistics gives, to the last bit.

    Raises:
        NotRestatable: as `without`, or no image is left.
    """
    views = _views(component)
    if not statistics.images:
        raise NotRestatable("no image is left: delete the component")
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


def _views(component: Component) -> int:
    why = why_not(component.scope, component.hyperparameters)
    if why is not None:
        raise NotRestatable(f"the component must be trained again: {why}")
    return int(component.hyperparameters["views"])


def _statistics(component: Component) -> Statistics:
    if component.statistics is None:
        raise NotRestatable("the component has no statistics: train it again")
    return component.statistics
