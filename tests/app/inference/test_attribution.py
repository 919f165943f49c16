"""Attributions: contributions sum to the logit; leaving one out equals predicting without it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tangent.composition import joint_attribution
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

BOTH = "logits,probabilities,contributions,leave_one_out"
SELECTIONS = [
    ("default", "average", (None, None)),
    ("default", "weighted", (0.25, -1.5)),
    ("default", "joint", (None, 2.0)),
    ("blocks", "average", (None, None)),
    ("blocks", "weighted", (0.5, 1.25)),
]


@pytest.fixture(scope="module")
def parts(two: TwoComponents) -> dict[str, tuple[str, str]]:
    """Two components in a linear space, and two in one with backbone directions."""
    service = two.service
    body = {"name": "blocks", "backbone": "resnet_micro_32", "scope": "last-block"}
    assert service.client.post("/v1/spaces", json=body).status_code == 201
    blocks = [service.component({a: 3, "owl": 3}, space="blocks") for a in ("cat", "dog")]
    return {"default": (two.pets, two.stock), "blocks": (blocks[0], blocks[1])}


def members(ids: Any, weights: Any) -> list[dict[str, Any]]:
    return [
        {"id": part} | ({} if weight is None else {"weight": weight})
        for part, weight in zip(ids, weights, strict=True)
    ]


def ask(two: TwoComponents, chosen: list[dict[str, Any]], **fields: str) -> list[dict[str, Any]]:
    pictures = [image("cat", 90), image("cow", 91)]
    answer = two.post(*pictures, components=json.dumps(chosen), **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


@pytest.mark.parametrize("wanted", ["contributions", "leave_one_out"])
def test_an_answer_that_is_no_sum_has_no_parts(two, parts, wanted):
    fields = {"rule": "discriminant", "return": wanted}
    chosen = json.dumps(members(parts["default"], (None, None)))
    answer = two.post(image("cat", 90), components=chosen, **fields)
    document = problem(answer, 422, "rule_unavailable")
    assert "ask by rule joint" in document["detail"]


@pytest.mark.parametrize(("space", "rule", "weights"), SELECTIONS)
def test_contributions_sum_to_the_logits_shown(two, parts, space, rule, weights):
    chosen = members(parts[space], weights)
    for result in ask(two, chosen, rule=rule, **{"return": BOTH}):
        found = result["contributions"]
        assert [each["id"] for each in found["components"]] == list(parts[space])
        for each in result["predictions"]:
            label = each["label"]
            added = [part["logits"][label] for part in found["components"]]
            assert found["base"][label] + sum(added) == pytest.approx(
                each["logit"], rel=1e-5, abs=1e-5
            )


@pytest.mark.parametrize(("space", "rule", "weights"), SELECTIONS)
def test_without_one_is_what_a_prediction_over_the_rest_gives(two, parts, space, rule, weights):
    chosen = members(parts[space], weights)
    apart = ask(two, chosen, rule=rule, **{"return": BOTH})
    for out, left in enumerate(parts[space]):
        rest = [each for each in chosen if each["id"] != left]
        for found, expected in zip(apart, ask(two, rest, rule=rule), strict=True):
            without = found["leave_one_out"][out]
            assert without["id"] == left
            labels = [each["label"] for each in expected["predictions"]]
            assert [each["label"] for each in without["predictions"]] == labels
            for one, other in zip(without["predictions"], expected["predictions"], strict=True):
                if space == "default":  # linear: the very numbers of that prediction
                    assert one["logit"] == other["logit"]
                assert one["logit"] == pytest.approx(other["logit"], rel=1e-4, abs=1e-5)


def test_the_answer_itself_is_the_same(two: TwoComponents) -> None:
    plain, apart = two.ask(), two.ask(**{"return": BOTH.split(",")})
    (result,) = apart.json()["results"]
    assert result["predictions"] == plain.json()["results"][0]["predictions"]
    (alone,) = two.ask(**{"return": ["contributions"]}).json()["results"]
    assert alone["predictions"] == result["predictions"] and "leave_one_out" not in alone
    (logits,) = two.ask(**{"return": ["leave_one_out", "logits"]}).json()["results"]
    first = logits["leave_one_out"][0]["predictions"][0]
    assert set(first) == {"label", "logit"} and "contributions" not in logits


def test_only_the_labels_shown_are_taken_apart(two: TwoComponents) -> None:
    (result,) = two.ask(labels=["cat", "hen"], top_k=1, **{"return": BOTH.split(",")}).json()[
        "results"
    ]
    (shown,) = [each["label"] for each in result["predictions"]]
    assert set(result["contributions"]["base"]) == {shown}
    without = {each["id"]: each["predictions"] for each in result["leave_one_out"]}
    assert [each["label"] for each in without[two.pets]] == ["hen"]
    assert [each["label"] for each in without[two.stock]] == ["cat"]
    (result,) = two.ask(labels=["cat"], **{"return": BOTH.split(",")}).json()["results"]
    assert result["leave_one_out"][0]["predictions"] == []


def test_without_the_only_component_there_is_no_answer(two: TwoComponents) -> None:
    asked = {"components": [{"id": two.pets}], "return": ["leave_one_out"]}
    (result,) = two.ask(**asked).json()["results"]
    assert result["leave_one_out"] == [{"id": two.pets, "predictions": None}]


def test_an_image_that_does_not_decode_leaves_the_others_theirs(two: TwoComponents) -> None:
    answer = two.post(b"x", image("cat", 90), **{"return": BOTH})
    bad, good = answer.json()["results"]
    assert set(bad) == {"index", "error"}
    answered = {"index", "label", "margin", "predictions"}
    assert set(good) == answered | {"contributions", "leave_one_out"}


def test_too_many_are_refused(two: TwoComponents) -> None:
    given, asked = two.service.settings, {"return": "contributions"}
    with two.service.replaced(settings=given.model_copy(update={"max_attributions": 3})):
        assert two.post(image("cat", 1), **asked).status_code == 200
        answer = two.post(image("cat", 1), image("cat", 2), **asked)
        assert "and 3 pairs" in problem(answer, 422, "too_many_attributions")["detail"]
    with two.service.replaced(settings=given.model_copy(update={"max_attributed_components": 1})):
        answer = two.post(image("cat", 1), **asked)
        assert "most are 1 components" in problem(answer, 422, "too_many_attributions")["detail"]
        assert two.post(image("cat", 1)).status_code == 200


def test_a_deleted_component_is_in_no_later_answer(service: Service) -> None:
    keep, gone = service.component({"cat": 3}), service.component({"dog": 3})
    two = TwoComponents(service, keep, gone, "")
    asked = {"return": BOTH.split(",")}
    assert gone in two.ask(**asked).text
    assert service.client.delete(f"/v1/components/{gone}").status_code == 200
    after = two.ask(**asked)
    assert gone not in after.text and "dog" not in after.text


def test_a_prediction_does_not_wait_for_a_joint_answer_to_be_taken_apart(
    two: TwoComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    solving, answered, factor = threading.Event(), threading.Event(), joint_attribution.factor

    def waiting(*given: Any) -> Any:
        solving.set()
        assert answered.wait(30)
        return factor(*given)

    monkeypatch.setattr(joint_attribution, "factor", waiting)
    with ThreadPoolExecutor(1) as pool:
        apart = pool.submit(two.ask, **{"return": BOTH.split(",")})
        assert solving.wait(30)
        with httpx.Client(base_url=two.service.url, trust_env=False, timeout=20) as client:
            png = {"Content-Type": "image/png"}
            plain = client.post("/v1/predictions", content=image("cat", 1), headers=png)
        answered.set()
        assert (plain.status_code, apart.result().status_code) == (200, 200)


def test_the_limits_are_documented(shared: Service) -> None:
    document = shared.client.get("/openapi.json").json()
    schema = document["components"]["schemas"]["PredictionIn"]["properties"]["return"]
    named = {"max_attributed_components", "max_attributions"}
    assert all(name in schema["description"] for name in named)
    assert named <= set(shared.client.get("/v1/limits").json())
    example = document["components"]["schemas"]["PredictionOut"]["example"]
    assert {"contributions", "leave_one_out"} <= set(example["results"][0])


def test_a_label_may_be_spelled_as_in_any_other_field(two: TwoComponents) -> None:
    fields = {"return": ["leave_one_out", "logits"]}
    (exact,) = two.ask(**fields, labels=["cat", "cow"]).json()["results"]
    (loose,) = two.ask(**fields, labels=[" cat ", "cow\u200b"]).json()["results"]
    assert loose["leave_one_out"] == exact["leave_one_out"]
    assert all(each["predictions"] for each in exact["leave_one_out"])
