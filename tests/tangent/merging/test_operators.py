"""The operators' parameters: defaults, ranges, and a sentence for everything not allowed."""

import json
import math

import pytest

from tangent import errors
from tangent.merging import OPERATORS, needs_images, operator, resolve, weigh


@pytest.mark.parametrize("name", OPERATORS)
def test_defaults_are_allowed_and_resolve_to_themselves(name):
    found = resolve(name, {})
    assert resolve(name, found) == found == json.loads(json.dumps(found))


def test_whole_numbers_for_real_ones_resolve_to_the_same_parameters():
    assert repr(resolve("ties", {"density": 1})) == repr(resolve("ties", {"density": 1.0}))


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("ties", {"keep": 0.2}, "ties has no parameter 'keep'; there are density, scale"),
        ("ties", {"density": -0.1}, "density is -0.1; it must be a number from 0 to 1"),
        ("ties", {"density": math.nan}, "density is nan; it must be a number"),
        ("ties", {"density": True}, "density is True; it must be a number"),
        ("ties", {"density": "half"}, "density is 'half'; it must be a number"),
        ("dare", {"drop": 1.0}, "drop is 1.0; it must be a number from 0 to 0.999"),
        ("dare", {"merge": "slerp"}, "merge is 'slerp'; choose one of linear, ties"),
        ("dare", {"merge": ["ties"]}, "merge is .*; choose one of linear, ties"),
        ("fisher", {"images": 2.0}, "images is 2.0; it must be a whole number from 1"),
        ("kfac", {"iterations": 0}, "iterations is 0; it must be a whole number from 1 to 10000"),
        ("regmean", {"alpha": 1.1}, "alpha is 1.1; it must be a number from 0 to 1"),
        ("atlas", {"constraint": "simplex"}, "'simplex'; choose one of none, non_negative"),
        ("atlas", {"l2": 10**400}, "l2 is 1000.*; it must be a number"),
        ("breadcrumbs", {"smallest": 0.9, "largest": 0.2}, "together are above 1"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_named_with_its_range(name, given, sentence):
    with pytest.raises(errors.BadParameter, match=sentence):
        resolve(name, given)


@pytest.mark.parametrize("name", ["soup", "", None, ["ties"]])
def test_an_unknown_operator_is_told_the_known_ones(name):
    with pytest.raises(errors.UnknownOperator, match="choose one of task_arithmetic, ties"):
        operator(name)


def test_weights_are_ones_where_none_is_given():
    assert weigh("ties", [None, 2, 0.5]) == [1.0, 2.0, 0.5]
    assert weigh("task_arithmetic", [-1, 0]) == [-1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "scope", "loss", "expected"),
    [
        ("ties", "last-block", "rsl", False),
        ("atlas", "last-block", "rsl", False),
        ("fisher", "head", "rsl", False),
        ("fisher", "head2toe", "cross_entropy", True),
        ("regmean", "head", "cross_entropy", False),
        ("regmean", "last-block", "rsl", True),
        ("kfac", "all", "rsl", True),
    ],
)
def test_images_are_needed_where_statistics_do_not_say_enough(name, scope, loss, expected):
    assert needs_images(name, scope, loss) == expected
