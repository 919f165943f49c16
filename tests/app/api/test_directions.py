"""Directions of a prediction: the answers at all weights, from one answer."""

import random
from typing import Any

import pytest

from tests.support.client import predict
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

IMAGES = [image(label, 70 + n) for label in ("cat", "dog", "cow", "hen") for n in range(2)]
LABELS = ["cat", "cow", "dog", "hen"]


def answer(service: Service, *images: bytes, **fields: Any) -> dict[str, Any]:
    found = predict(service, *images, **{name: str(value) for name, value in fields.items()})
    assert found.status_code == 200, found.text
    return found.json()


def both(two: TwoComponents) -> str:
    return f"{two.pets},{two.stock}"


def weighted(weights: dict[str, float]) -> str:
    return str([{"id": id_, "weight": weight} for id_, weight in weights.items()]).replace("'", '"')


def logits(result: dict[str, Any]) -> dict[str, float]:
    return {each["label"]: each["logit"] for each in result["predictions"]}


def at(answered: dict[str, Any], result: dict[str, Any], weights: dict[str, float]) -> dict:
    """Return the logits at these weights, by the answer's directions alone."""
    known = {
        label for each in answered["components"] if weights[each["id"]] for label in each["labels"]
    }
    moved = {each["id"]: each["logits"] for each in result["directions"]["components"]}
    return {
        label: base + sum(weights[id_] * moved[id_][label] for id_ in moved)
        for label, base in result["directions"]["base"].items()
        if label in known
    }


@pytest.fixture(scope="module", params=["head2toe", "last-block"])
def scope(request: pytest.FixtureRequest) -> str:
    """A linear scope, and one where the components move the backbone too."""
    return request.param


@pytest.fixture(scope="module")
def made(shared: Service, scope: str) -> list[str]:
    """Two components of different labels in a space of the scope."""
    body = {"name": scope, "backbone": "resnet_micro_32", "scope": scope}
    assert shared.client.post("/v1/spaces", json=body).status_code == 201
    both = {"cat": 6, "dog": 6}, {"cow": 6, "hen": 6}
    return [shared.component(counts, space=scope) for counts in both]


def test_base_and_directions_give_the_answers_of_all_weights(shared: Service, made: list[str]):
    ones = weighted(dict.fromkeys(made, 1.0))
    once = answer(shared, *IMAGES, components=ones, rule="weighted", **{"return": "directions"})
    assert [each["labels"] for each in once["components"]] == [["cat", "dog"], ["cow", "hen"]]
    chance = random.Random(5)
    for _ in range(10):
        weights = {id_: chance.uniform(-2, 3) for id_ in made}
        there = answer(shared, *IMAGES, components=weighted(weights), rule="weighted", top_k=9)
        for mine, theirs in zip(once["results"], there["results"], strict=True):
            expected = logits(theirs)
            scale = max(1.0, *map(abs, expected.values()))
            assert at(once, mine, weights) == pytest.approx(expected, abs=1e-5 * scale)


def test_a_component_of_weight_zero_has_its_direction_too(shared: Service, made: list[str]):
    given = {made[0]: 0.0, made[1]: 2.0}
    once = answer(shared, components=weighted(given), rule="weighted", **{"return": "directions"})
    result = once["results"][0]
    assert [each["id"] for each in result["directions"]["components"]] == made
    assert any(result["directions"]["components"][0]["logits"].values())
    for weights in (given, {made[0]: 1.5, made[1]: 0.0}):
        there = answer(shared, components=weighted(weights), rule="weighted", top_k=9)
        expected = logits(there["results"][0])
        assert at(once, result, weights) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_average_is_all_weights_alike(shared: Service, made: list[str]):
    ids = ",".join(made)
    once = answer(shared, components=ids, rule="average", **{"return": "logits,directions"})
    result, half = once["results"][0], dict.fromkeys(made, 0.5)
    assert {each["id"]: each["weight"] for each in once["components"]} == half
    assert at(once, result, half) == pytest.approx(logits(result), rel=1e-5, abs=1e-5)


def test_the_directions_have_all_labels_or_those_that_are_asked_for(two: TwoComponents):
    asked = {"components": both(two), "rule": "average", "top_k": 1, "return": "directions"}
    result = answer(two.service, **asked)["results"][0]
    assert len(result["predictions"]) == 1
    parts = [result["directions"]["base"]]
    parts += [each["logits"] for each in result["directions"]["components"]]
    assert all(list(part) == LABELS for part in parts)
    some = answer(two.service, **asked, labels="hen,cat")["results"][0]["directions"]
    assert list(some["base"]) == ["cat", "hen"]
    assert some["base"] == pytest.approx({label: parts[0][label] for label in some["base"]})


def test_the_three_forms_and_the_other_attributions_go_together(two: TwoComponents):
    names = "directions,contributions,leave_one_out"
    by_form = answer(two.service, components=both(two), rule="average", **{"return": names})
    raw = two.service.client.post(
        "/v1/predictions",
        params={"components": both(two), "rule": "average", "return": names},
        content=image("cat", 60),
        headers={"Content-Type": "image/png"},
    ).json()
    for found in (by_form, raw):
        (result,) = found["results"]
        shares = result["contributions"]["components"]
        for share, whole in zip(shares, result["directions"]["components"], strict=True):
            half = {label: 0.5 * whole["logits"][label] for label in share["logits"]}
            assert share["logits"] == pytest.approx(half, rel=1e-9, abs=1e-9)
        assert len(result["leave_one_out"]) == 2


def test_one_image_has_the_same_directions_whatever_comes_with_it(two: TwoComponents):
    asked = {"components": both(two), "rule": "average", "return": "directions"}
    alone = answer(two.service, IMAGES[0], **asked, deterministic="true")["results"][0]
    among = answer(two.service, *IMAGES, **asked, deterministic="true")["results"][0]
    assert among["directions"] == alone["directions"]


def test_an_image_with_an_error_has_none_and_spoils_no_other(two: TwoComponents):
    asked = {"components": both(two), "rule": "average", "return": "directions"}
    bad, good = answer(two.service, b"none", IMAGES[0], **asked)["results"]
    assert bad["error"]["code"] == "bad_image" and "directions" not in bad
    assert list(good["directions"]["base"]) == LABELS


def test_without_being_asked_for_there_are_none(two: TwoComponents):
    found = answer(two.service, components=both(two), rule="average")
    assert "directions" not in found["results"][0]
    assert all("labels" not in each for each in found["components"])


@pytest.mark.parametrize("rule", ["joint", "discriminant"])
def test_rules_that_solve_have_no_directions(two: TwoComponents, rule: str):
    refused = predict(two.service, components=both(two), rule=rule, **{"return": "directions"})
    detail = problem(refused, 422, "rule_not_linear")["detail"]
    assert f"rule {rule} are no sum" in detail and "weighted or average" in detail


def test_directions_are_bounded_as_contributions_are(serve):
    service = serve(max_direction_numbers=40, max_attributions=9, scope="head")
    ids = [service.component({"cat": 2, "dog": 2}, start) for start in (0, 10)]
    asked = {"components": ",".join(ids), "rule": "average", "return": "directions"}
    assert predict(service, *IMAGES[:4], **asked).status_code == 200
    problem(predict(service, *IMAGES[:5], **asked), 422, "too_many_attributions")
    service.component({"hen": 2, "cow": 2, "owl": 2, "emu": 2})
    ids = [each["id"] for each in service.client.get("/v1/components").json()["data"]]
    refused = predict(service, *IMAGES[:3], **asked | {"components": ",".join(ids)})
    found = problem(refused, 422, "too_many_directions")
    assert "72 numbers, the most are 40" in found["detail"] and "name the labels" in found["detail"]
    some = predict(service, *IMAGES[:3], **asked | {"components": ",".join(ids), "labels": "cat"})
    assert some.status_code == 200


def test_a_label_that_no_component_knows_is_refused(two: TwoComponents):
    asked = {"components": both(two), "rule": "average", "return": "directions", "labels": "yak"}
    problem(predict(two.service, **asked), 422, "unknown_label")
