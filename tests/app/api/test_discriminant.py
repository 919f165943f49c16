"""Rule `discriminant` over HTTP: where it is taken, and where it is refused."""

import pytest

from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service


@pytest.fixture(scope="module")
def stock(shared: Service) -> str:
    """A component of many cows and few hens."""
    return shared.component({"cow": 12, "hen": 2})


def put(service: Service, name: str, components, **more):
    body = {"rule": "discriminant", "components": components} | more
    return service.client.put(f"/v1/compositions/{name}", json=body)


def test_a_composition_and_its_evaluation_take_it(shared, stock):
    made = put(shared, "even", [{"id": stock, "weight": 2.0}])
    assert (made.status_code, made.json()["rule"]) == (201, "discriminant")
    seen = shared.dataset({"cow": 3, "hen": 3}, start=50)
    body = {"dataset_id": seen, "composition": "even"}
    answer = shared.client.post("/v1/evaluations", json=body, headers={"Prefer": "wait=60"})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["rule"], answer.json()["joint"]) == ("discriminant", None)
    assert answer.json()["accuracy"] >= 5 / 6


def test_a_space_has_it_as_its_default(shared):
    body = {"name": "even", "backbone": "vit_micro_32", "scope": "head"}
    made = shared.client.post("/v1/spaces", json=body | {"default_rule": "discriminant"})
    assert (made.status_code, made.json()["default_rule"]) == (201, "discriminant")
    shared.component({"cat": 3, "dog": 2}, space="even")
    files = {"images": image("cat", 7)}
    answer = shared.client.post("/v1/predictions", data={"space": "even"}, files=files)
    assert answer.json()["rule"] == "discriminant"


def test_it_is_refused_where_features_move(shared):
    body = {"name": "moving", "backbone": "resnet_micro_32", "scope": "last-block"}
    assert shared.client.post("/v1/spaces", json=body).status_code == 201
    blocks = shared.component({"cat": 3, "dog": 3}, space="moving")
    document = problem(put(shared, "moves", "all", space="moving"), 422, "rule_unavailable")
    assert "at scope head or head2toe" in document["detail"]
    assert "use rule joint" in document["detail"]
    asked = {"components": blocks, "rule": "discriminant"}
    files = {"images": image("cat", 1)}
    answer = shared.client.post("/v1/predictions", data=asked, files=files)
    problem(answer, 422, "rule_unavailable")
