"""The words and bounds of the API that the mathematics has too, for whoever speaks to a service.

`tangent` has its own, because it runs alone; tests/tangent_composer/test_vocabulary.py holds both
equal. Loads nothing but the standard library.
"""

from typing import Literal, get_args

Rule = Literal["average", "weighted", "joint", "discriminant"]
RULES: tuple[Rule, ...] = get_args(Rule)
Objective = Literal["squared", "cross_entropy"]  # of weights that are fitted to labelled images
Constraint = Literal["none", "non_negative", "simplex"]  # on fitted weights
PrecisionName = Literal["float32", "bfloat16", "float16"]  # a number format of answers

SCOPES = ("head", "head2toe", "last-block", "last-N-blocks", "all")
LINEAR = ("head", "head2toe")  # scopes at which rule joint is exact
MERGE_METHODS = (
    *("atlas", "breadcrumbs", "dare", "fisher", "kfac"),
    *("pcb", "refine", "regmean", "task_arithmetic", "ties"),
)

MIN_WEIGHT, MAX_WEIGHT = 1e-100, 1e100  # sizes of weights other than 0

EPSILONS = (0.05, 20.0)  # of a private training
DELTAS = (1e-12, 1e-2)
MAX_PRIVATE_LABELS = 10_000
