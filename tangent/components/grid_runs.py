"""The grid of features in a component's metadata, by runs of equal steps: number, exponent of 2."""

import math
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from tangent.errors import BadComponent

Runs = tuple[tuple[int, int], ...]
EXPONENTS = range(-200, 201)  # products of two steps and 2^53 of them are ordinary floats


def runs(steps: Tensor) -> Runs:
    """Return the runs of steps (D,), which are powers of two."""
    exponents = [math.frexp(step)[1] - 1 for step in steps.tolist()]
    return tuple((len(list(run)), exponent) for exponent, run in groupby(exponents))


def steps(of: Runs) -> Tensor:
    """Return the steps (D,) of runs."""
    counts, exponents = torch.tensor(of).T
    found: Tensor = (2.0 ** exponents.double()).repeat_interleave(counts)
    return found


def checked(given: Any, width: int) -> Runs:
    """Return the runs that a file has of so many features.

    Raises:
        BadComponent: they are no such runs.
    """
    if not isinstance(given, list) or not 0 < len(given) <= width:
        raise BadComponent("the component's grid is not a list of runs of features")
    for run in given:
        if not (
            isinstance(run, list)
            and len(run) == 2
            and all(type(each) is int for each in run)
            and 0 < run[0] <= width
            and run[1] in EXPONENTS
        ):
            raise BadComponent(
                "the component's grid has a run that is not a number of features and an exponent "
                f"from {EXPONENTS[0]} to {EXPONENTS[-1]}"
            )
    if sum(count for count, _ in given) != width:
        raise BadComponent(f"the component's grid is not of the {width} features of its head")
    return tuple((count, exponent) for count, exponent in given)
