"""Rankings in the page are the service's, and answers by other weights are numpy's sums."""

import numpy as np
import pytest

from app.inference.ranking import best_labels
from tangent_composer.schemas.predictions import PredictionQuery
from tests.support.page_modules import called, looked_up

MODULE = "algebra/logits.js"
LABELS = ["cat", "dog", "__proto__", "toString", "10"]
IDS = ["cmp_a", "cmp_b", "cmp_c"]
OWN = {"cmp_a": ["cat", "dog"], "cmp_b": ["dog", "__proto__"], "cmp_c": ["toString", "10"]}


@pytest.mark.parametrize("temperature", [None, 0.26, 1.7])
def test_a_ranking_has_the_order_and_the_probabilities_of_the_service(temperature):
    rng = np.random.default_rng(3)
    labels = tuple(sorted(["seven", "Zebra", "ärger", "10", "9", "constructor", "__proto__"]))
    logits = rng.normal(0, 9, len(labels)).astype(np.float32)
    logits[1] = logits[0]  # a tie, which goes by label
    query = PredictionQuery(top_k=100)
    expected = best_labels(logits, labels, range(len(labels)), query, temperature)

    found = called(
        MODULE, "ranked", dict(zip(labels, map(float, logits), strict=True)), temperature
    )

    assert [each["label"] for each in found] == [each["label"] for each in expected]
    np.testing.assert_allclose(
        [each["probability"] for each in found],
        [each["probability"] for each in expected],
        rtol=1e-12,
    )


def test_a_softmax_of_huge_logits_is_finite():
    assert called(MODULE, "softmax", [1e4, 0.0, -1e4]) == [1, 0, 0]


def test_the_margin_is_the_best_logit_less_the_second():
    ranking = called(MODULE, "ranked", {"a": 1.5, "b": 4.0, "c": -2.0})
    assert called(MODULE, "marginOf", ranking) == 2.5
    assert called(MODULE, "marginOf", ranking[:1]) is None


@pytest.mark.parametrize(
    ("novelty", "margin", "bounds", "told"),
    [
        (0.995, 5.0, {"above": 0.99, "below": None}, "its novelty 0.9950 is above 0.99"),
        (0.99, 5.0, {"above": 0.99, "below": None}, ""),
        (0.5, 0.2, {"above": None, "below": 0.3}, "its margin 0.2000 is below 0.3"),
        (None, None, {"above": 0.5, "below": 0.5}, ""),
    ],
)
def test_an_answer_abstains_beyond_the_bounds_alone(novelty, margin, bounds, told):
    assert called(MODULE, "abstention", novelty, margin, bounds) == told


def test_a_label_that_every_object_seems_to_have_has_no_logit():
    assert called(MODULE, "at", {"cat": 1.0}, "constructor") == 0


def numbers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(0, 5, len(LABELS)), rng.normal(0, 5, (len(IDS), len(LABELS)))


def directions(base: np.ndarray, moved: np.ndarray) -> dict:
    def by_label(row: np.ndarray) -> dict[str, float]:
        return dict(zip(LABELS, row.tolist(), strict=True))

    components = [{"id": id_, "logits": by_label(row)} for id_, row in zip(IDS, moved, strict=True)]
    return {"base": by_label(base), "components": components}


def members(weights: np.ndarray) -> list[dict]:
    return [{"id": id_, "weight": float(each)} for id_, each in zip(IDS, weights, strict=True)]


def test_logits_are_the_base_and_the_weighted_directions():
    base, moved = numbers()
    for seed in range(5):
        weights = np.random.default_rng(seed).uniform(-1, 2, len(IDS))
        parts = called(
            MODULE, "reweighted", directions(base, moved), members(weights), looked_up(OWN)
        )
        logits = called(MODULE, "summed", parts)
        expected = base + weights @ moved
        np.testing.assert_allclose([logits[label] for label in LABELS], expected, rtol=1e-12)


def test_a_component_of_weight_zero_is_none_and_brings_no_labels():
    base, moved = numbers()
    parts = called(
        *(MODULE, "reweighted", directions(base, moved)),
        *(members(np.array([0.5, 0, 0])), looked_up(OWN)),
    )
    assert sorted(parts["base"]) == ["cat", "dog"]
    assert [each["id"] for each in parts["components"]] == ["cmp_a"]


def test_average_counts_every_member_the_same_whatever_its_weight():
    found = called(MODULE, "weighed", "average", members(np.array([1, 3, 5])))
    assert found == members(np.full(3, 1 / 3))


def test_weights_of_other_rules_stay():
    given = members(np.array([1, 3, 5]))
    assert called(MODULE, "weighed", "weighted", given) == given


def test_directions_that_lack_a_member_or_a_label_tell_nothing():
    base, moved = numbers()
    known = directions(base, moved)
    asked = [{"id": "cmp_new", "weight": 1}]
    assert called(MODULE, "reweighted", known, asked, looked_up({"cmp_new": ["cat"]})) is None
    wanted = {"cmp_a": ["cat", "valueOf"]}
    one = [{"id": "cmp_a", "weight": 1}]
    assert called(MODULE, "reweighted", known, one, looked_up(wanted)) is None


def test_the_one_member_that_is_left_out_is_found():
    asked = members(np.array([1, 2, 0.5]))
    assert called(MODULE, "leftOut", asked, [asked[0], asked[2]]) == "cmp_b"
    at_zero = [asked[0], {"id": "cmp_b", "weight": 0}, asked[2]]
    assert called(MODULE, "leftOut", asked, at_zero) == "cmp_b"


def test_nothing_is_found_left_out_if_anything_else_has_changed():
    asked = members(np.array([1, 2, 0.5]))
    assert called(MODULE, "leftOut", asked, asked) is None
    assert called(MODULE, "leftOut", asked, asked[:1]) is None
    assert called(MODULE, "leftOut", asked, [asked[0], {"id": "cmp_c", "weight": 1}]) is None
    assert called(MODULE, "leftOut", asked, [*asked[:2], {"id": "cmp_new", "weight": 1}]) is None
