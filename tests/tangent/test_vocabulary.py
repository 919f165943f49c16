"""The vocabulary: which words are scopes, and which weights a rule takes."""

import math

import pytest

from tangent.vocabulary import RULES, SCOPES, block_count, is_scope, weight_fault


@pytest.mark.parametrize(
    "scope", [*sorted({*SCOPES} - {"last-N-blocks"}), "last-1-blocks", "last-99-blocks"]
)
def test_a_scope_is_a_name_of_the_table(scope):
    assert is_scope(scope)


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "Head",
        "last-N-blocks",
        "last-0-blocks",
        "last-01-blocks",
        "last-100-blocks",
        "last-2-blocks\n",
    ],
)
def test_any_other_name_is_no_scope(scope):
    assert not is_scope(scope)


def test_a_scope_of_last_blocks_counts_them():
    assert [block_count(s) for s in ("last-block", "last-2-blocks", "last-12-blocks")] == [1, 2, 12]


FAULTS = {
    ("average", None): None,
    ("average", 1.0): "takes no weights",
    ("weighted", None): "needs a number",
    ("weighted", -2.0): None,
    ("weighted", 0.0): None,
    ("weighted", math.inf): "finite",
    ("joint", None): None,
    ("joint", 0.0): None,
    ("joint", -0.5): "at least 0",
    ("joint", math.nan): "finite",
    ("joint", 1e100): None,
    ("joint", 1e-100): None,
    ("joint", -math.inf): "at least 0",
    ("joint", 1.1e100): "of 0, or of a size from 1e-100 to 1e+100",
    ("discriminant", 0.9e-100): "of 0, or of a size from 1e-100",
    ("weighted", -1e100): None,
    ("weighted", -1.1e100): "of 0, or of a size from 1e-100 to 1e+100",
    ("weighted", 5e-324): "of 0, or of a size from 1e-100",
}


@pytest.mark.parametrize(("rule", "weight"), FAULTS)
def test_a_rule_names_what_is_wrong_with_a_weight(rule, weight):
    fault, expected = weight_fault(rule, weight), FAULTS[rule, weight]

    assert rule in RULES
    assert fault is None if expected is None else expected in (fault or "")
