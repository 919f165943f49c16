"""The model to ask: a composition's name, components with or without weights, or a whole space."""

from collections.abc import Iterable, Mapping
from typing import Any

from tangent_composer.client.errors import BadInput
from tangent_composer.vocabulary import Rule

Chosen = str | Iterable[str] | Mapping[str, float]


def members(components: Chosen) -> list[dict[str, Any]]:
    """Return components as the API takes them: `{"id": …, "weight": …}`.

    Raises:
        BadInput: they are none, or a weight is no number.
    """
    if isinstance(components, str):
        return [{"id": components}]
    if isinstance(components, Mapping):
        return [{"id": str(id_), "weight": weight_of(id_, components[id_])} for id_ in components]
    if not isinstance(components, Iterable):
        what = f"{type(components).__name__} is no choice of components"
        raise BadInput("bad_components", what, "give ids, or a dictionary of their weights")
    return [{"id": str(getattr(each, "id", each))} for each in components]


def weight_of(id_: Any, weight: Any) -> float:
    """Return the weight of a component as a number.

    Raises:
        BadInput: it is none.
    """
    try:
        return float(weight)
    except (TypeError, ValueError, OverflowError):
        what = f"{weight!r} is no weight of {id_}"
        raise BadInput("bad_weight", what, "give a finite number") from None


def listed(labels: str | Iterable[str] | None) -> list[str] | None:
    """Return labels as a list; a text is one label, and not its letters."""
    if labels is None:
        return None
    return [labels] if isinstance(labels, str) else list(labels)


def selection(
    composition: str | None = None,
    components: Chosen | None = None,
    space: str | None = None,
    rule: Rule | None = None,
) -> dict[str, Any]:
    """Return the fields of a request that choose its model, without those left out.

    Weights that are given want rule `weighted`, unless another one is named.
    """
    if isinstance(components, Mapping) and rule is None:
        rule = "weighted"
    given = {
        "composition": composition,
        "components": None if components is None else members(components),
        "space": space,
        "rule": rule,
    }
    return {name: value for name, value in given.items() if value is not None}
