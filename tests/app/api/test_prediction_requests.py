"""Refused predictions: the error names the fault in the request and its place."""

import pytest

from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

SCOPE = "head"

PNG = {"Content-Type": "image/png"}


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "-Infinity", "1e999", '"0.5"', "true", "[]"])
def test_a_weight_that_is_no_number_is_refused(two: TwoComponents, weight: str) -> None:
    members = f'[{{"id": "{two.pets}", "weight": {weight}}}]'
    body = f'{{"rule": "weighted", "images": [{{"b64": ""}}], "components": {members}}}'
    headers = {"Content-Type": "application/json"}
    answer = two.service.client.post("/v1/predictions", content=body, headers=headers)
    document = problem(answer, 422, "invalid_request")
    assert [each["pointer"] for each in document["errors"]] == ["/components/0/weight"]
    problem(two.post(image("cat", 90), components=members, rule="weighted"), 422, "invalid_request")


def test_a_weight_that_the_rule_does_not_take_is_refused(two: TwoComponents) -> None:
    members = [{"id": two.pets, "weight": 1.0}, {"id": two.stock}]
    problem(two.ask(components=members, rule="weighted"), 422, "bad_weight")
    members = [{"id": two.pets, "weight": 1.0}]
    problem(two.ask(components=members, rule="average"), 422, "bad_weight")
    members = [{"id": two.pets, "weight": -1.0}]
    problem(two.ask(components=members, rule="joint"), 422, "bad_weight")


@pytest.mark.parametrize("rule", ["joint", "discriminant", "weighted"])
@pytest.mark.parametrize("weight", [1e300, 1e-300, 5e-324])
def test_a_weight_whose_square_would_overflow_or_vanish_is_refused(two, rule, weight) -> None:
    members = [{"id": two.pets, "weight": weight}, {"id": two.stock, "weight": 1.0}]
    problem(two.ask(components=members, rule=rule), 422, "bad_weight")
    body = {"space": "default", "rule": rule, "components": members}
    problem(two.service.client.put("/v1/compositions/huge", json=body), 422, "bad_weight")


def test_weights_that_are_all_zero_make_no_composition(two: TwoComponents) -> None:
    members = [{"id": two.pets, "weight": 0.0}, {"id": two.stock, "weight": -0.0}]
    body = {"space": "default", "rule": "weighted", "components": members}
    refused = problem(two.service.client.put("/v1/compositions/zero", json=body), 422, "bad_weight")
    assert refused["detail"] == "rule weighted needs one weight other than 0"


def test_a_negative_zero_is_shown_as_zero(two: TwoComponents) -> None:
    members = [{"id": two.pets, "weight": -0.0}, {"id": two.stock, "weight": 1.0}]
    answer = two.ask(components=members, rule="weighted").json()
    body = {"space": "default", "rule": "weighted", "components": members}
    stored = two.service.client.put("/v1/compositions/signed", json=body).json()
    for found in (answer, stored):
        weights = {each["id"]: str(each["weight"]) for each in found["components"]}
        assert weights == {two.pets: "0.0", two.stock: "1.0"}


def test_components_of_one_other_space_are_told_its_name(two: TwoComponents) -> None:
    def refusal(*ids: str) -> str:
        body = {"rule": "joint", "components": [{"id": each} for each in ids]}
        answer = two.service.client.put("/v1/compositions/where", json=body)
        return str(problem(answer, 422, "component_other_space")["detail"])

    space = two.service.client.get(f"/v1/components/{two.elsewhere}").json()["space"]
    assert refusal(two.elsewhere).endswith(f"say space {space!r}, where all of them are")
    assert refusal(two.pets, two.elsewhere).endswith("different spaces cannot be added")


@pytest.mark.parametrize("components", ["[]", ","])
def test_an_empty_list_of_components_is_refused(two: TwoComponents, components: str) -> None:
    problem(two.ask(components=[]), 422, "no_components_given")
    problem(two.post(image("cat", 90), components=components), 422, "no_components_given")
    client = two.service.client
    dataset = client.get(f"/v1/components/{two.pets}").json()["dataset_id"]
    for path in ("/v1/evaluations", "/v1/batch-predictions"):
        answer = client.post(path, json={"dataset_id": dataset, "components": []})
        problem(answer, 422, "no_components_given")


def test_a_composition_of_nothing_is_no_selection_anywhere(two: TwoComponents) -> None:
    client, body = two.service.client, {"rule": "average", "components": []}
    assert client.put("/v1/compositions/nothing", json=body | {"space": "default"}).is_success
    asked = {"composition": "nothing", "images": [{"b64": ""}]}
    for answer in (
        client.get("/v1/compositions/nothing/privacy"),
        client.post("/v1/predictions", json=asked),
    ):
        refused = problem(answer, 409, "no_components")
        assert "composition 'nothing' has no component left" in refused["detail"]


def test_weights_that_overflow_the_logits_are_refused(two: TwoComponents) -> None:
    members = [{"id": two.pets, "weight": 1e100}]
    problem(two.ask(components=members, rule="weighted"), 422, "weights_too_large")


def test_without_any_component_the_service_does_not_guess(service: Service) -> None:
    answer = service.client.post("/v1/predictions", content=image("cat", 1), headers=PNG)
    problem(answer, 409, "no_components")


def test_components_that_cannot_answer_are_refused(two: TwoComponents) -> None:
    service = two.service
    waiting = service.queued(service.dataset({"cat": 2}))
    gone = service.component({"fox": 2})
    receipt = service.client.delete(f"/v1/components/{gone}").json()["id"]
    problem(two.ask(components=[{"id": waiting}]), 409, "component_not_ready")
    problem(two.ask(components=[{"id": "cmp_none"}]), 404, "component_not_found")
    document = problem(two.ask(components=[{"id": gone}]), 410, "component_deleted")
    assert document["receipt_id"] == receipt
    both = [{"id": two.pets}, {"id": two.elsewhere}]
    problem(two.ask(components=both), 422, "component_other_space")
    problem(two.ask(composition="none"), 404, "composition_not_found")
    problem(two.ask(space="none"), 404, "space_not_found")


@pytest.mark.parametrize(
    "media_type", [None, "text/plain", "application/x-www-form-urlencoded", "video/mp4"]
)
def test_other_media_types_are_refused(two: TwoComponents, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = two.service.client.post("/v1/predictions", content=b"a=b", headers=headers)
    document = problem(answer, 415, "unsupported_media_type")
    assert "multipart/form-data" in document["detail"]


def test_requests_without_images_are_refused(two: TwoComponents) -> None:
    client = two.service.client
    form = {"rule": (None, "joint")}
    problem(client.post("/v1/predictions", files=form), 422, "no_images")
    problem(client.post("/v1/predictions", content=b"", headers=PNG), 422, "no_images")
    problem(client.post("/v1/predictions", json={"images": []}), 422, "invalid_request")
    form = {"images": (None, "cat.png")}
    problem(client.post("/v1/predictions", files=form), 422, "invalid_request")


@pytest.mark.parametrize(
    "fields",
    [{"top_k": "0"}, {"top_k": "many"}, {"rule": "best"}, {"colour": "red"}, {"components": "[1"}],
)
def test_fields_out_of_range_are_refused(two: TwoComponents, fields: dict[str, str]) -> None:
    document = problem(two.post(image("cat", 1), **fields), 422, "invalid_request")
    (name,) = fields
    assert document["errors"][0]["pointer"] == f"/{name}"


def test_a_form_that_is_cut_off_is_a_problem(two: TwoComponents) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    answer = two.service.client.post("/v1/predictions", content=b"--x\r\n", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed_request"
