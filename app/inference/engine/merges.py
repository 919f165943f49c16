"""Merge methods as plain values, for a service that checks requests for derivations."""

from collections.abc import Sequence
from typing import Any

from app.inference.models import MergePlan
from tangent.composition import merging


def planned(
    operator: str, parameters: dict[str, Any], weights: Sequence[float | None]
) -> MergePlan:
    """Return the method's needs, with its parameters resolved.

    Raises:
        UnknownOperator, BadParameter, BadDerivation: it cannot be carried out so.
    """
    method = merging.merge_method(operator)
    settings = method.resolve(parameters)
    method.weigh(list(weights))
    return MergePlan(method.name, settings, method.measures_images, method.dataset)


def needing_images(operator: str, scope: str, losses: Sequence[str]) -> list[bool]:
    """Return for each parent's loss whether the method needs the images of such a parent."""
    method = merging.merge_method(operator)
    return [method.needs_images(scope, loss) for loss in losses]
