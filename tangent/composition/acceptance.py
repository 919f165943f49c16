"""Acceptance of a component that another service made: what its file claims, checked in full."""

from collections.abc import Callable
from dataclasses import replace

import torch

from tangent.components.component import Component
from tangent.components.hyperparameters import Hyperparameters
from tangent.components.statistics import CompactTriangle
from tangent.composition import merging
from tangent.composition.compose import compose
from tangent.composition.exact_sum import ROOM, is_too_large
from tangent.errors import BadComponent
from tangent.spaces.space import Space

MAX_SEED = 2**63 - 1
MAX_PARENTS = 1_000  # as many as a composition has components; each is shown wherever the merge is


def accepted(
    space: Space, component: Component, label_fault: Callable[[str], str | None] | None = None
) -> Component:
    """Return the component with its settings resolved, after checking that it can serve here.

    label_fault: returns why a text is no label where the component is to serve, or None.

    Raises:
        FingerprintMismatch: it was trained in another space.
        BadComponent: its labels, seed, tensors, statistics or records are none of a training or
            merge in this space.
        BadHyperparameter, UnknownOperator, BadParameter: its settings are none of this version.
    """
    _check_seed(component)
    _check_records(component)
    if label_fault is not None:
        _check_labels(component, label_fault)
    space.check(component)
    _check_types(space, component)
    _check_grid(space, component)
    component = _resolved(component)
    _check_composition(space, component)
    return component


def _check_seed(component: Component) -> None:
    if not 0 <= component.seed <= MAX_SEED:
        raise BadComponent(f"the component's seed {component.seed} is not from 0 to {MAX_SEED}")


def _check_records(component: Component) -> None:
    """Refuse records of privacy and of parents that no training, and no merge, writes."""
    if component.privacy is not None and set(component.privacy["labels"]) != set(component.labels):
        raise BadComponent("the labels in the record of the component's privacy are not its own")
    if component.derived is None:
        return
    if component.privacy is not None:
        raise BadComponent("a component made of others cannot have a privacy of its own")
    if len(component.derived.parents) > MAX_PARENTS:
        raise BadComponent(
            f"the component has {len(component.derived.parents)} parents, the most is {MAX_PARENTS}"
        )


def _check_labels(component: Component, label_fault: Callable[[str], str | None]) -> None:
    for label in (*component.labels, *component.head_labels):
        if why := label_fault(label):
            raise BadComponent(f"the component's label {label[:80]!r} {why}")


def _check_types(space: Space, component: Component) -> None:
    """Refuse directions that another tool cast: their numbers are not those of the training."""
    for name, direction in component.backbone.items():
        if direction.dtype != space.dtype:
            raise BadComponent(
                f"the direction of {name} holds {direction.dtype}, this space's {space.dtype}"
            )


def _check_grid(space: Space, component: Component) -> None:
    """Refuse sums off the grid: added and subtracted, they would leave a trace."""
    statistics, views = component.statistics, component.hyperparameters.get("views", 1)
    has_grid = statistics is not None or component.grid is not None
    if has_grid and component.grid != space.stored_grid:
        raise BadComponent(
            "the grid in the component's metadata is not that of this space's features: train it "
            "by this version, in a space with this fingerprint"
        )
    triangle = None if statistics is None else statistics.triangle
    if isinstance(triangle, CompactTriangle) and not triangle.units.is_canonical():
        raise BadComponent(
            "the component's whole numbers are packed otherwise than a training packs them, in "
            "wider blocks or with more than zeros after the last: the same component would be a "
            "file of other bytes; send the file as its training wrote it"
        )
    if space.grid is None or statistics is None or views != 1:
        return
    counts = torch.tensor(list(statistics.counts.values()), dtype=torch.float64)
    if not space.grid.holds(statistics.gram, statistics.sums, counts):
        raise BadComponent(
            "the component's statistics are no sums of this space's features, which lie on a grid: "
            "train it by this version, in a space with this fingerprint"
        )


def _resolved(component: Component) -> Component:
    """Return the component with all settings of its training or merge method."""
    if (derived := component.derived) is None:
        given = Hyperparameters.stored(component.scope, component.hyperparameters)
        return replace(component, hyperparameters=given.as_dict())
    parameters = merging.merge_method(derived.operator).resolve(derived.parameters)
    return replace(component, hyperparameters={}, derived=replace(derived, parameters=parameters))


def _check_composition(space: Space, component: Component) -> None:
    """Refuse a component that cannot be composed alone: it would spoil every composition."""
    for name, tensor in (("head", component.head), *component.backbone.items()):
        if is_too_large(tensor):
            greatest = float(tensor.abs().max())
            raise BadComponent(
                f"the component's {name} has numbers up to {greatest:.3g}, so that {ROOM} such "
                "components could not be summed: no training makes such numbers"
            )
    rule = "joint" if space.joint_is_exact and component.statistics is not None else "average"
    delta = compose(space, [(component, None)], rule, shas=[""])
    if not all(tensor.isfinite().all() for tensor in delta.tensors().values()):
        raise BadComponent("the component's numbers overflow when they are composed")
