"""JSON bodies of very many values cost little and get short answers."""

import asyncio
import json
from typing import Any

import pytest

from app.api.http import prediction_forms
from tangent_composer.schemas import spaces
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

JSON = {"Content-Type": "application/json"}
SMALL = 20_000  # bytes of an answer
ENOUGH = 200_000  # values in a body that nobody needs

MANY = {
    "images": ("POST", "/v1/predictions", {}),
    "members": ("POST", "/v1/predictions", {"images": [{"b64": ""}]}),
    "labels": ("POST", "/v1/spaces", {"name": "many", "backbone": "x", "scope": "head"}),
    "components": ("PUT", "/v1/compositions/many", {"rule": "joint"}),
    "metadata": ("POST", "/v1/components", {"dataset_id": "ds_1"}),
    "hyperparameters": ("POST", "/v1/components", {"dataset_id": "ds_1"}),
    "parameters": ("POST", "/v1/components/derive", {"operator": "ties", "parents": [{"id": "a"}]}),
    "parents": ("POST", "/v1/components/derive", {"operator": "ties"}),
    "rename": ("POST", "/v1/datasets/ds_1/labels", {}),
    "unknown": ("POST", "/v1/evaluations", {"dataset_id": "ds_1"}),
    "l2": ("POST", "/v1/compositions/many/solve", {"dataset_id": "ds_1"}),
}
OBJECTS = ("metadata", "hyperparameters", "parameters", "rename", "unknown")


def filled(name: str, count: int) -> tuple[str, str, dict[str, Any]]:
    """Return the method, the path and a body whose field `name` has `count` entries."""
    method, path, body = MANY[name]
    values: Any = {str(i): 1 for i in range(count)} if name in OBJECTS else [{}] * count
    return method, path, body | {"components" if name == "members" else name: values}


@pytest.mark.parametrize("name", MANY)
def test_a_flood_of_values_is_refused_before_it_is_parsed(
    shared: Service, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    loads = json.loads

    def counted(text: Any, **how: Any) -> Any:
        if len(text) > SMALL:  # what the service reads of its own rows meanwhile is short
            parsed.append(len(text))
        return loads(text, **how)

    method, path, body = filled(name, ENOUGH)
    content = json.dumps(body)
    with monkeypatch.context() as patch:
        patch.setattr(json, "loads", counted)
        patch.setattr(prediction_forms, "_from_json", lambda *_body: parsed.append(0))
        answer = shared.client.request(method, path, content=content, headers=JSON)
    assert parsed == []
    document = problem(answer, 413, "request_too_large")
    assert "100000 commas and opening brackets: send less" in document["detail"]
    assert len(answer.content) < SMALL


@pytest.mark.parametrize("name", MANY)
def test_as_many_values_as_pass_are_answered_with_few_errors(shared: Service, name: str) -> None:
    method, path, body = filled(name, 40_000)
    answer = shared.client.request(method, path, json=body)
    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < SMALL
    assert len(answer.json().get("errors", [])) <= 2


def test_a_list_of_wrong_entries_is_answered_with_the_first_and_the_number_of_the_rest(
    shared: Service,
) -> None:
    answer = shared.client.post("/v1/predictions", json={"images": [{}] * 25_000})
    document = problem(answer, 422, "invalid_request")
    pointers = [each["pointer"] for each in document["errors"]]
    assert pointers == [f"/images/{i}/b64" for i in range(20)]
    assert document["detail"].endswith("; 24980 more faults are not listed")
    assert len(answer.content) < SMALL


def test_few_errors_are_all_listed(shared: Service) -> None:
    document = shared.client.post("/v1/predictions", json={"images": [{}] * 20}).json()
    assert len(document["errors"]) == 20
    assert "not listed" not in document["detail"]


@pytest.mark.parametrize("where", ["name", "value"])
def test_a_long_text_is_not_sent_back_whole(shared: Service, where: str) -> None:
    long = "x" * 1_000_000
    bodies: list[dict[str, Any]] = [
        {long: 1},
        {"dataset_id": shared.dataset({"cat": 2}), "hyperparameters": {long: 1}},
    ]
    if where == "value":
        bodies = [{"dataset_id": long}, bodies[1] | {"hyperparameters": {"loss": long}}]
    for body in bodies:
        answer = shared.client.post("/v1/components", json=body)
        assert answer.status_code == 422
        assert len(answer.content) < SMALL


@pytest.mark.parametrize("content_type", ["application/json", "APPLICATION/JSON;a=b", "x/y+json"])
def test_a_json_body_of_a_few_megabytes_is_too_large_but_for_images(
    shared: Service, content_type: str
) -> None:
    content = json.dumps({"dataset_id": "x" * 5 * 2**20})
    headers = {"Content-Type": content_type}
    answer = shared.client.post("/v1/evaluations", content=content, headers=headers)
    problem(answer, 413, "request_too_large")
    images = {"images": [{"b64": "A" * 5 * 2**20}]}
    assert shared.client.post("/v1/predictions", json=images).status_code in (200, 409)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_a_flood_is_refused_in_every_encoding_of_json(shared: Service, encoding: str) -> None:
    content = json.dumps({"labels": [1] * ENOUGH}).encode(encoding)
    problem(
        shared.client.post("/v1/spaces", content=content, headers=JSON), 413, "request_too_large"
    )


@pytest.mark.parametrize("field", ["components", "labels"])
def test_a_form_has_no_more_values_than_a_json_body(two: TwoComponents, field: str) -> None:
    texts = {"labels": "a," * ENOUGH, "components": json.dumps([{}] * ENOUGH)}
    answer = two.post(image("cat", 1), **{field: texts[field]})
    problem(answer, 413, "request_too_large")


def test_a_long_prediction_in_json_is_read_off_the_event_loop(
    two: TwoComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    looping, read = [], prediction_forms._from_json

    def watched(*body: Any) -> prediction_forms.PredictionRequest:
        try:
            asyncio.get_running_loop()
            looping.append(True)
        except RuntimeError:
            looping.append(False)
        return read(*body)

    monkeypatch.setattr(prediction_forms, "_from_json", watched)
    assert two.ask().status_code == 200
    monkeypatch.setattr(prediction_forms, "FEW_BYTES", 100)
    assert two.ask().status_code == 200
    assert looping == [True, False]


class Compared(str):
    """A text that counts all comparisons."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.comparisons += 1
        return str.__eq__(self, other)


def test_labels_are_found_distinct_in_time_in_proportion_to_their_number() -> None:
    Compared.comparisons = 0
    labels: list[str] = [Compared(i) for i in range(5000)]
    assert spaces._distinct(labels) == labels
    assert Compared.comparisons < 10 * len(labels)


def test_labels_named_twice_are_named() -> None:
    with pytest.raises(ValueError, match=r"named twice: a, b"):
        spaces.SpaceIn(name="n", backbone="x", scope="head", labels=["b", "a", "c", "a", "b"])
