"""The words that all parts share and no tensor is needed for: scopes, rules and their weights.

Loads nothing but the standard library, so what must start without torch can import it.

| scope           | tangent parameters                                                          |
|-----------------|-----------------------------------------------------------------------------|
| `head`          | the head                                                                    |
| `head2toe`      | the head and linear readouts of several depths (Evci et al. 2022)           |
| `last-block`    | the head and the last block (TAFT-1 of Liu, Golatkar & Soatto 2024)         |
| `last-N-blocks` | the head and the last N blocks                                              |
| `all`           | every parameter                                                             |

| rule       | composed delta                                            | weights               |
|------------|-----------------------------------------------------------|-----------------------|
| `average`  | the mean of the components' deltas                        | none                  |
| `weighted` | their weighted sum                                        | a finite number each  |
| `joint`    | the optimum of all their data together                    | none, or ≥ 0 each     |
| `discrimi- | the same data's linear discriminant: every label equally  | none, or ≥ 0 each     |
| nant`      | likely; at scopes of LINEAR                               |                       |
"""

import math
import re
from pathlib import Path
from pkgutil import iter_modules
from typing import Literal, get_args

SCOPES = ("head", "head2toe", "last-block", "last-N-blocks", "all")
LINEAR = ("head", "head2toe")  # the output is linear in fixed features: rule joint is exact
_LAST_BLOCKS = re.compile(r"last-([1-9][0-9]?)-blocks")

Rule = Literal["average", "weighted", "joint", "discriminant"]
RULES: tuple[Rule, ...] = get_args(Rule)
# The size of weights that are not 0, of rules and operators: products must not overflow.
MIN_WEIGHT, MAX_WEIGHT = 1e-100, 1e100
OF_STATISTICS: tuple[Rule, ...] = ("joint", "discriminant")  # of the components' data, not deltas

Objective = Literal["squared", "cross_entropy"]  # of weights that are fitted to labelled images
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
Constraint = Literal["none", "non_negative", "simplex"]  # on fitted weights
CONSTRAINTS: tuple[Constraint, ...] = get_args(Constraint)

L2_CHOSEN_BY = "generalised cross-validation, the lowest of all choices"  # where it is "auto"

PrecisionName = Literal["float32", "bfloat16", "float16"]  # a number format of answers

# Each is a file, so their names need no torch; `METHODS` in that package has what they declare.
_METHODS = Path(__file__).parent / "composition" / "merging" / "methods"
MERGE_METHODS = tuple(sorted(module.name for module in iter_modules([str(_METHODS)])))
REFINE = "refine"  # the merge method that gives the joint optimum where rule joint is not exact
REFINE_PASSES = 8  # of it over the images, unless asked otherwise


def is_scope(name: str) -> bool:
    """Return whether a space can have this scope; N stands for 1 … 99."""
    return (name in SCOPES and "N" not in name) or _LAST_BLOCKS.fullmatch(name) is not None


def scope_fault(name: str) -> str | None:
    """Return why no space can have this scope, or None."""
    if is_scope(name):
        return None
    return f"no scope is called {name!r}; choose one of {', '.join(SCOPES)} (N: 1 … 99)"


def block_count(scope: str) -> int:
    """Return the number of last blocks that get a tangent at a scope of last blocks."""
    counted = _LAST_BLOCKS.fullmatch(scope)
    return int(counted[1]) if counted else 1


def weight_fault(rule: str, weight: float | None) -> str | None:
    """Return why the rule refuses a component's weight, to be read after its name, or None.

    A weight of None is none given.
    """
    if rule == "average":
        return None if weight is None else "takes no weights: use rule weighted"
    if weight is None:
        return "needs a number for every component" if rule == "weighted" else None
    if rule in OF_STATISTICS and weight < 0:
        return "needs weights of at least 0"
    return size_fault(weight)


def size_fault(weight: float) -> str | None:
    """Return why no rule or operator takes a weight, to be read after its name, or None."""
    if not math.isfinite(weight):
        return "needs finite numbers"
    if weight and not MIN_WEIGHT <= abs(weight) <= MAX_WEIGHT:
        return f"needs weights of 0, or of a size from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
    return None
