"""Composition: the same set, the same bytes; deletion as if never added; one pass for many."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tangent
from tangent import errors
from tests.support.models import delta_bytes, exact_logits, images, relative, space
from tests.support.random_components import SIZE, components, compose

SCOPES = ("head", "head2toe", "last-block")


RULES = [
    (scope, rule)
    for scope in SCOPES
    for rule in tangent.RULES
    if scope in tangent.LINEAR or rule != "discriminant"
]
rules = pytest.mark.parametrize(("scope", "rule"), RULES)
WEIGHTS = {"average": [None] * 4, "weighted": [0.1, -2.5, 1 / 3, 7.0], "joint": [1, 0.3, None, 2]}
WEIGHTS["discriminant"] = WEIGHTS["joint"]


@settings(deadline=None, max_examples=12)
@given(order=st.permutations(range(4)))
@rules
def test_the_order_of_the_parts_does_not_touch_a_byte(scope, rule, order):
    expected = delta_bytes(compose(scope, range(4), rule, WEIGHTS[rule]))
    found = compose(scope, order, rule, [WEIGHTS[rule][i] for i in order])
    assert delta_bytes(found) == expected


@rules
def test_after_any_history_the_same_set_gives_the_same_bytes(scope, rule):
    never = delta_bytes(compose(scope, [0, 2], rule, WEIGHTS[rule][:2]))
    compose(scope, [0, 1, 2], rule, WEIGHTS[rule][:3])
    compose(scope, [1], rule, [None if rule == "average" else 1.0])
    assert delta_bytes(compose(scope, [2, 0], rule, WEIGHTS[rule][1::-1])) == never


@pytest.mark.parametrize("scope", ["head", "last-block"])
def test_a_float32_running_sum_less_one_part_would_not_give_those_bytes(scope):
    chosen = [components(scope, torch.float32)[i] for i in (0, 3, 1)]
    rows = [dict(zip(part.head_labels, part.head, strict=True)) for part in chosen]
    tensors = [
        {"dog": each["dog"].float()} | part.backbone
        for each, part in zip(rows, chosen, strict=True)
    ]
    kept = compose(scope, [0, 3], "weighted", [1.0, 1.0], torch.float32)
    found = {"dog": kept.head[kept.labels.index("dog")].float()} | kept.backbone
    first, second, removed = tensors
    differs = 0
    for name in found:
        running = first[name] + second[name] + removed[name] - removed[name]
        never = (first[name].double() + second[name].double()).float()
        assert torch.equal(found[name], never)
        differs += (running != never).sum().item()
    assert differs > 0


@pytest.mark.parametrize("rule", ["average", "weighted"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_component_alone_is_itself_bit_for_bit(rule, dtype):
    for scope in SCOPES:
        for i, part in enumerate(components(scope, dtype)):
            weights = [1.0 if rule == "weighted" else None]
            found = compose(scope, [i], rule, weights, dtype)
            own = tangent.Delta(part.head_labels, part.head, part.backbone)
            assert delta_bytes(found) == delta_bytes(own)


@pytest.mark.parametrize(("scope", "rule"), [each for each in RULES if each[1] != "average"])
def test_a_part_of_weight_zero_is_as_absent(scope, rule):
    without = compose(scope, [0, 3], rule, [0.7, 2.0])
    with_zeros = compose(scope, [2, 0, 1, 3], rule, [0.0, 0.7, -0.0, 2.0])
    assert delta_bytes(with_zeros) == delta_bytes(without)
    assert with_zeros.labels == ("cat", "dog", "eel")


@pytest.mark.parametrize("scope", SCOPES)
def test_weighted_sums_rows_by_label_and_directions_by_parameter(scope):
    weights, parts = WEIGHTS["weighted"], components(scope)
    found = compose(scope, range(4), "weighted", weights)
    assert found.labels == ("ant", "cat", "dog", "eel")
    for label, row in zip(found.labels, found.head, strict=True):
        expected = sum(
            weight * part.head[part.head_labels.index(label)]
            for weight, part in zip(weights, parts, strict=True)
            if label in part.head_labels
        )
        assert relative(row, expected) <= 1e-14
    for name, value in found.backbone.items():
        expected = sum(w * part.backbone[name] for w, part in zip(weights, parts, strict=True))
        assert relative(value, expected) <= 1e-14


@pytest.mark.parametrize("scope", SCOPES)
def test_the_average_answers_as_the_mean_of_the_components_answers(scope):
    where, x = space("mini", scope), images(SIZE, 3)
    zero = compose(scope, [3], "weighted", [1.0])
    base = exact_logits(
        where,
        x,
        tangent.Delta(zero.labels, 0 * zero.head, {k: 0 * v for k, v in zero.backbone.items()}),
    )
    alone = [compose(scope, [i], "average") for i in (0, 1, 3)]
    padded = [tangent.Delta(zero.labels, rows(one, zero.labels), one.backbone) for one in alone]
    outputs = [exact_logits(where, x, delta) for delta in padded]
    assert (
        relative(exact_logits(where, x, compose(scope, [0, 1, 3], "average")), sum(outputs) / 3)
        <= 1e-10
    )
    weights = [2.0, -1.0, 0.5]
    found = exact_logits(where, x, compose(scope, [0, 1, 3], "weighted", weights))
    expected = (1 - sum(weights)) * base + sum(
        weight * out for weight, out in zip(weights, outputs, strict=True)
    )
    assert relative(found, expected) <= 1e-10


def rows(delta: tangent.Delta, labels: tuple[str, ...]) -> torch.Tensor:
    """The head with zero rows for the labels that the delta does not know."""
    head = torch.zeros(len(labels), delta.head.shape[1], dtype=torch.float64)
    for label, row in zip(delta.labels, delta.head, strict=True):
        head[labels.index(label)] = row
    return head


def test_declared_labels_without_images_are_not_ranked():
    part = dataclasses.replace(
        components("head")[2], head_labels=("ant", "bee"), head=torch.ones(2, 9).double()
    )
    for rule in tangent.RULES:
        weight = 1.0 if rule == "weighted" else None
        found = tangent.compose(space("mini", "head"), [(part, weight)], rule, shas=["0"])
        assert found.labels == ("ant",)


@pytest.mark.parametrize(
    ("rule", "weights", "sentence"),
    [
        ("average", [1.0, None], "1.0, but rule average takes no weights: use rule weighted"),
        ("weighted", [1.0, None], "None, but rule weighted needs a number for every component"),
        ("weighted", [1.0, float("nan")], "weight nan, but rule weighted needs finite numbers"),
        ("weighted", [float("inf"), 1.0], "weight inf, but rule weighted needs finite numbers"),
        ("weighted", [0.0, 0.0], "all weights are 0"),
        ("joint", [1.0, -0.1], "rule joint needs weights of at least 0"),
        ("joint", [0.0, 0.0], "all weights are 0"),
        ("joint", [1.0, float("inf")], "weight inf, but rule joint needs finite numbers"),
        ("soup", [None, None], "no rule is called 'soup'; choose one of average, weighted, joint"),
    ],
)
def test_weights_that_the_rule_does_not_take_are_refused(rule, weights, sentence):
    with pytest.raises(errors.BadWeight, match=sentence):
        compose("head", [0, 1], rule, weights)


@pytest.mark.parametrize("shas", [(), ("0", "1")])
def test_each_component_has_its_hash(shas):
    parts = [(components("head")[0], None)]
    with pytest.raises(ValueError, match=f"1 components have {len(shas)} shas: give one for each"):
        tangent.compose(space("mini", "head"), parts, "average", shas=shas)


@pytest.mark.parametrize("rule", tangent.RULES)
def test_a_composition_of_nothing_is_refused(rule):
    with pytest.raises(errors.BadWeight, match="needs at least one component"):
        tangent.compose(space("mini", "head"), [], rule, shas=[])


@pytest.mark.parametrize("scope", ["head", "head2toe", "last-block"])
def test_joint_of_a_component_without_statistics_is_refused_with_the_rules_that_work(scope):
    bare = dataclasses.replace(components(scope)[0], statistics=None)
    parts = [(bare, None), (components(scope)[1], None)]
    with pytest.raises(errors.NoStatistics, match="a component carries no statistics of its data"):
        tangent.compose(space("mini", scope), parts, "joint", shas="ab")
    whole = [(components(scope)[0], None), parts[1]]
    found, expected = (
        tangent.compose(space("mini", scope), each, "average", shas="ab").tensors()
        for each in (parts, whole)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("rule", tangent.RULES)
def test_a_component_of_another_space_is_refused_with_both_named(rule):
    where, other = space("mini", "head"), components("head2toe")[0]
    sentence = f"{other.fingerprint[:12]}.*this space is {where.fingerprint[:12]}"
    weight = 1.0 if rule == "weighted" else None
    with pytest.raises(errors.FingerprintMismatch, match=sentence):
        tangent.compose(where, [(components("head")[0], weight), (other, weight)], rule, shas="ab")


@pytest.mark.parametrize(
    ("scope", "change", "sentence"),
    [
        ("head", {"head": torch.zeros(2, 5)}, "head rows have 5 entries, this space's 9"),
        ("head", {"backbone": {"x": torch.zeros(1)}}, "direction of x .*not a tangent parameter"),
        ("last-block", {"backbone": {}}, "direction of blocks.1.* has the shape missing"),
    ],
)
def test_a_component_that_does_not_fit_its_space_is_refused(scope, change, sentence):
    part = dataclasses.replace(components(scope)[0], **change)
    with pytest.raises(errors.BadComponent, match=sentence):
        space("mini", scope).check(part)
