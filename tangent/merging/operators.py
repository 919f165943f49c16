"""The operators by name: the parameters of each with defaults and ranges, and what it needs."""

from dataclasses import dataclass, field
from typing import Any

from tangent.errors import BadDerivation, BadParameter, UnknownOperator
from tangent.vocabulary import CONSTRAINTS, LINEAR, OBJECTIVES, REFINE_PASSES

SCALE = (0.3, 0.0, 100.0)


@dataclass(frozen=True)
class Operator:
    """What a derivation by this operator takes.

    numbers: name -> (default, lowest, highest), whole numbers where the default is one.
    choices: name -> what it can be, the default first.
    weights: which weights the parents can have: any, positive or none.
    """

    numbers: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weights: str = "any"
    parents_data: bool = False  # it measures on the images that each parent was trained from
    dataset: bool = False  # it fits to a labelled dataset


IMAGES = (256, 1, 1_000_000)
OPERATORS = {
    "task_arithmetic": Operator({"scale": SCALE}),
    "ties": Operator({"density": (0.2, 0.0, 1.0), "scale": (1.0, 0.0, 100.0)}, weights="positive"),
    "dare": Operator(
        {"drop": (0.9, 0.0, 0.999), "density": (1.0, 0.0, 1.0), "scale": SCALE},
        {"merge": ("linear", "ties")},
        weights="positive",
    ),
    "breadcrumbs": Operator(
        {"smallest": (0.85, 0.0, 1.0), "largest": (0.01, 0.0, 1.0), "scale": SCALE}
    ),
    "pcb": Operator({"keep": (0.2, 0.0, 1.0), "scale": (1.0, 0.0, 100.0)}, weights="positive"),
    "fisher": Operator({"images": IMAGES}, weights="positive", parents_data=True),
    "kfac": Operator(
        {"images": IMAGES, "iterations": (100, 1, 10_000)}, weights="positive", parents_data=True
    ),
    "regmean": Operator(
        {"images": IMAGES, "alpha": (0.9, 0.0, 1.0)}, weights="positive", parents_data=True
    ),
    "refine": Operator({"passes": (REFINE_PASSES, 1, 1000)}, weights="positive", parents_data=True),
    "atlas": Operator(
        {"l2": (1e-3, 0.0, 1e6), "beta": (15.0, 1e-3, 1e4)},
        {
            "objective": (OBJECTIVES[1], OBJECTIVES[0]),
            "constraint": tuple(each for each in CONSTRAINTS if each != "simplex"),
        },
        weights="none",
        dataset=True,
    ),
}


def operator(name: Any) -> Operator:
    """The operator of this name.

    Raises:
        UnknownOperator: there is none.
    """
    if not isinstance(name, str) or name not in OPERATORS:
        raise UnknownOperator(
            f"no operator is called {name!r}; choose one of {', '.join(OPERATORS)}"
        )
    return OPERATORS[name]


def resolve(name: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The given parameters over the operator's defaults.

    Raises:
        UnknownOperator: there is no such operator.
        BadParameter: a name, type or value that is not allowed.
    """
    asked = operator(name)
    values: dict[str, Any] = {key: default for key, (default, *_) in asked.numbers.items()}
    values |= {key: allowed[0] for key, allowed in asked.choices.items()}
    for key, value in given.items():
        if key not in values:
            known = ", ".join(values)
            raise BadParameter(f"operator {name} has no parameter {key!r}; there are {known}")
        values[key] = _checked(asked, key, value)
    if values.get("smallest", 0) + values.get("largest", 0) > 1:
        raise BadParameter("smallest and largest together are above 1: they are shares of a layer")
    return values


def weigh(name: str, given: list[float | None]) -> list[float]:
    """The parents' weights as numbers, 1 for those left out.

    Raises:
        BadDerivation: weights that the operator does not take.
    """
    allowed = operator(name).weights
    if allowed == "none" and any(weight is not None for weight in given):
        raise BadDerivation(f"operator {name} finds the weights itself: leave them out")
    if allowed == "positive" and any(weight is not None and weight <= 0 for weight in given):
        raise BadDerivation(f"operator {name} needs weights above 0")
    return [1.0 if weight is None else float(weight) for weight in given]


def needs_images(name: str, scope: str, loss: str) -> bool:
    """Whether the operator needs the images that a parent of this scope and loss was trained from.

    At linear scopes a component's statistics are enough, but for the Fisher matrix of
    cross-entropy.
    """
    if not operator(name).parents_data:
        return False
    return (
        scope not in LINEAR or name == "refine" or (name != "regmean" and loss == "cross_entropy")
    )


def _checked(asked: Operator, key: str, value: Any) -> Any:
    if key in asked.choices:
        if value not in asked.choices[key]:
            allowed = ", ".join(asked.choices[key])
            raise BadParameter(f"{key} is {value!r}; choose one of {allowed}")
        return value
    default, low, high = asked.numbers[key]
    kind = int if isinstance(default, int) else (int, float)
    number = isinstance(value, kind) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # false for NaN
        what = "a whole number" if kind is int else "a number"
        raise BadParameter(f"{key} is {value!r}; it must be {what} from {low:g} to {high:g}")
    return value if kind is int else float(value)
