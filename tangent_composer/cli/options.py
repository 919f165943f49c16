"""Options that several commands have, and how their values are read."""

import json
from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any

import typer

from tangent_composer.cli.refusal import Refusal
from tangent_composer.vocabulary import RULES, Rule

DELTA = 1e-5  # of an epsilon that comes alone


def finite(number: float | None) -> float | None:
    """Return the number that an option was given, if it was.

    Raises:
        BadParameter: it is not finite.
    """
    if number is not None and not isfinite(number):
        raise typer.BadParameter(f"{number} is no finite number")
    return number


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Address of the service. Default: TANGENT_URL, else that of `tangent login`, else "
        "http://127.0.0.1:8000.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, as the API has it.")]
Composition = Annotated[
    str | None, typer.Option("--composition", "-c", help="Ask this composition.")
]
Components = Annotated[
    list[str] | None,
    typer.Option(
        "--component",
        metavar="ID[=WEIGHT]",
        help="Ask this component; repeat for more. Default: all that are ready.",
        show_default=False,
    ),
]
Space = Annotated[
    str | None,
    typer.Option("--space", help="Space. Default: the one called default.", show_default=False),
]
RuleName = Annotated[
    str | None,
    typer.Option(
        "--rule", help=f"{', '.join(RULES)}. Default: the space's own.", show_default=False
    ),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Only images of train, val, test, or none.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Hyperparameter of the training, as l2=0.001; repeat for more.",
    ),
]
Notes = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="NAME=TEXT", help="Note to keep with it; repeat for more."),
]
Epsilon = Annotated[
    float | None,
    typer.Option(callback=finite, help="Differential privacy of the component: its epsilon."),
]
Delta = Annotated[
    float | None,
    typer.Option(
        callback=finite, help=f"Its delta, with --epsilon. Default: {DELTA}.", show_default=False
    ),
]
Timeout = Annotated[float | None, typer.Option(callback=finite, help="Seconds to wait at most.")]


CalibrationDataset = Annotated[
    str | None,
    typer.Option(help="Fit the temperature of probabilities to the images of this dataset."),
]
BudgetEpsilon = Annotated[
    float | None,
    typer.Option(
        callback=finite, help="Most that all private trainings may spend together: its epsilon."
    ),
]
BudgetDelta = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        help=f"Its delta, with --budget-epsilon. Default: {DELTA}.",
        show_default=False,
    ),
]
Unit = Annotated[
    str, typer.Option(help="What an epsilon is about: image, or group, all images of a patient.")
]
UNITS = ("image", "group")


def privacy(epsilon: float | None, delta: float | None, unit: str) -> dict[str, Any] | None:
    """Return a promise, or a budget of promises, as the API takes it; None without an epsilon.

    Raises:
        Refusal: the unit is none, or it or a delta is said without an epsilon.
    """
    if unit not in UNITS:
        raise Refusal(f"there is no unit {unit!r}: choose one of {', '.join(UNITS)}")
    if epsilon is None:
        if unit != UNITS[0]:
            raise Refusal(f"unit {unit} says what an epsilon is about: give an epsilon too")
        if delta is not None:
            raise Refusal(f"delta {delta:g} is the delta of an epsilon: give an epsilon too")
        return None
    terms = {"epsilon": epsilon, "delta": DELTA if delta is None else delta}
    return terms | ({} if unit == UNITS[0] else {"unit": unit})


def weighted(components: Sequence[str] | None) -> Any:
    """Return the components as the client takes them: ids, or ids with weights; None for none.

    Raises:
        Refusal: some have a weight and others none, or a weight is no number.
    """
    if not components:
        return None
    pairs = [each.partition("=") for each in components]
    if not any(sign for _, sign, _ in pairs):
        return [id_ for id_, _, _ in pairs]
    weights = {}
    for id_, sign, text in pairs:
        try:
            weights[id_] = float(text) if sign else float("nan")
        except ValueError:
            raise Refusal(f"{text!r} is no weight of {id_}: give ID=NUMBER") from None
        if not sign:
            raise Refusal(f"{id_} has no weight, but others have: give ID=NUMBER for each")
        if not isfinite(weights[id_]):
            raise Refusal(f"{text!r} is no weight of {id_}: give a finite number")
    return weights


def rule(name: str | None) -> Rule | None:
    """Return the rule of this name.

    Raises:
        Refusal: there is none.
    """
    found = next((each for each in RULES if each == name), None)
    if name is not None and found is None:
        raise Refusal(f"there is no rule {name!r}: choose one of {', '.join(RULES)}")
    return found


def pairs(given: Sequence[str] | None) -> dict[str, str] | None:
    """Return NAME=TEXT pairs as a dictionary; None for none.

    Raises:
        Refusal: one has no equals sign.
    """
    if not given:
        return None
    found = {}
    for each in given:
        name, sign, text = each.partition("=")
        if not sign or not name:
            raise Refusal(f"{each!r} is no pair: give NAME=VALUE")
        found[name] = text
    return found


def values(given: Sequence[str] | None) -> dict[str, Any] | None:
    """Return NAME=VALUE pairs, with values as JSON or else as text; None for none.

    Raises:
        Refusal: one has no equals sign, or a number that is not finite.
    """
    found = pairs(given)
    return None if found is None else {name: _value(name, text) for name, text in found.items()}


def _value(name: str, text: str) -> Any:
    def number(written: str) -> float:
        if isfinite(read := float(written)):
            return read
        raise Refusal(f"{name} is {written}: give a finite number")

    try:
        return json.loads(text, parse_float=number, parse_constant=number)
    except RecursionError:
        raise Refusal(f"{name} is nested too deeply: give a number or a text") from None
    except ValueError:
        return text
