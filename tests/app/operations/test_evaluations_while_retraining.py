"""While components retrain: the answers without them, and the weights fitted with them."""

from queue import SimpleQueue

import pytest

from app.passes import evaluations
from tests.support.client import WAIT, compose, delete, predict
from tests.support.merging import derived
from tests.support.service import Service
from tests.support.unlearning import SPACES, image_id

PETS = {"cat": 12, "dog": 12}
STOCK = {"cow": 12, "hen": 12}


@pytest.fixture
def two(serve) -> tuple[Service, str, str]:
    """A service with two iterated components in one space, and their ids."""
    service = serve()
    service.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
    return service, *(service.component(each, space="blocks") for each in (PETS, STOCK))


def dataset_of(service: Service, component_id: str) -> str:
    return service.client.get(f"/v1/components/{component_id}").json()["dataset_id"]


def remove(service: Service, component_id: str, content: tuple[str, int]) -> dict:
    """Delete this image from the component's dataset; return the receipt."""
    dataset_id = dataset_of(service, component_id)
    return delete(service, f"datasets/{dataset_id}/images/{image_id(service, dataset_id, content)}")


def test_compositions_answer_without_a_component_that_is_trained_anew_and_say_so(two):
    service, pets, stock = two
    parts = [{"id": pets, "weight": 0.25}, {"id": stock, "weight": 2.0}]
    compose(service, "weighed", parts, rule="weighted", space="blocks")
    compose(service, "both", [{"id": pets}, {"id": stock}], space="blocks")
    compose(service, "all", "all", space="blocks")
    versions = {
        name: service.client.get(f"/v1/compositions/{name}").json()["etag"]
        for name in ("weighed", "both", "all")
    }
    asked = [{"composition": name} for name in versions] + [{"space": "blocks"}]
    before = [predict(service, **each).json() for each in asked]
    assert all(answer["retraining"] == [] for answer in before)

    remove(service, pets, ("cat", 3))

    for each in asked:
        answer = predict(service, **each).json()
        assert answer["retraining"] == [pets]
        assert [part["id"] for part in answer["components"]] == [stock]
        labels = {ranked["label"] for ranked in answer["results"][0]["predictions"]}
        assert labels == {"cow", "hen"}
    shown = {name: service.client.get(f"/v1/compositions/{name}").json() for name in versions}
    assert {name: each["etag"] for name, each in shown.items()} == versions  # they name it still
    answer = predict(service, components=pets)
    assert (answer.status_code, answer.json()["code"]) == (409, "component_not_ready")
    service.train(pets)
    for each, old in zip(asked, before, strict=True):
        answer = predict(service, **each).json()
        assert answer["retraining"] == []
        used = [(part["id"], part["weight"]) for part in answer["components"]]
        assert used == [(part["id"], part["weight"]) for part in old["components"]]
        assert answer["components"][0]["sha256"] != old["components"][0]["sha256"]


def test_where_no_other_component_is_left_the_answer_says_when_to_come_back(two):
    service, pets, stock = two
    compose(service, "pets", [{"id": pets}], space="blocks")
    remove(service, pets, ("cat", 3))
    remove(service, stock, ("hen", 1))

    for asked in ({"composition": "pets"}, {"space": "blocks"}):
        answer = predict(service, **asked)
        found = answer.json()
        assert (answer.status_code, found["code"]) == (409, "components_retraining")
        assert int(answer.headers["Retry-After"]) >= 1 and pets in found["retraining"]
        assert "events" in found["detail"]
    service.client.delete(f"/v1/components/{stock}")  # so may one that is trained anew
    service.client.post(f"/v1/components/{pets}/cancel")
    answer = predict(service, composition="pets")
    assert (answer.status_code, answer.json()["code"]) == (409, "component_not_ready")
    assert not service.client.get(f"/v1/components/{pets}").json()["retraining"]


def test_what_was_fitted_or_measured_with_the_image_is_invalidated(two):
    service, pets, stock = two
    other = service.dataset({"cat": 8, "cow": 8}, start=40)
    compose(service, "solved", [{"id": pets}, {"id": stock}], space="blocks")
    compose(service, "given", [{"id": pets, "weight": 2.0}], rule="weighted", space="blocks")
    on_pets = service.dataset({"cat": 3, "cow": 30}, start=60)
    compose(service, "fitted", [{"id": stock}], space="blocks")
    for name, dataset_id in (("solved", other), ("fitted", on_pets)):
        body = {"dataset_id": dataset_id, "objective": "squared", "l2": 0.1, "constraint": "none"}
        answer = service.client.post(f"/v1/compositions/{name}/solve", json=body)
        assert answer.status_code == 200, answer.text
    evaluated = [
        service.client.post(
            "/v1/evaluations", json={"dataset_id": each} | asked, headers=WAIT
        ).json()["id"]
        for each, asked in (
            (other, {"composition": "solved"}),
            (dataset_of(service, pets), {"components": [{"id": stock}]}),
            (other, {"components": [{"id": stock}]}),
        )
    ]

    receipt = remove(service, pets, ("cat", 3))
    gone = delete(service, f"datasets/{on_pets}/images/{image_id(service, on_pets, ('cow', 61))}")

    body = receipt["body"]["invalidated"]
    assert body["solved_weights"] == ["solved"]
    assert [each["name"] for each in body["compositions"]] == ["solved"]
    assert body["evaluations"] == sorted(evaluated[:2])
    assert gone["body"]["invalidated"]["solved_weights"] == ["fitted"]
    assert gone["body"]["components"] == []
    shown = service.client.get("/v1/compositions/solved").json()
    assert (shown["rule"], shown["solved"]["status"]) == ("average", "invalidated")
    assert [part["id"] for part in shown["components"]] == [pets, stock]
    given = service.client.get("/v1/compositions/given").json()
    assert given["components"] == [{"id": pets, "weight": 2.0}]
    found = [service.client.get(f"/v1/evaluations/{each}").json() for each in evaluated]
    assert [each["status"] for each in found] == ["invalidated", "invalidated", "ready"]
    assert (found[0]["components"], found[0]["accuracy"]) == ([], None)
    body = {"dataset_id": other, "objective": "squared", "l2": 0.1, "constraint": "none"}
    refused = service.client.post("/v1/compositions/solved/solve", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "components_retraining")
    for each in (receipt, gone):
        assert service.client.post(f"/v1/receipts/{each['id']}/verify").json()["ok"]


def test_an_evaluation_that_the_change_overtakes_has_no_numbers(two, monkeypatch):
    service, pets, stock = two
    dataset_id, receipts, images = dataset_of(service, pets), SimpleQueue(), iter([("cat", 3)])
    result_of = evaluations.result_of

    def overtaken(confusion):
        for content in images:
            receipts.put(remove(service, pets, content))
        return result_of(confusion)

    monkeypatch.setattr(evaluations, "result_of", overtaken)
    body = {"dataset_id": dataset_id, "components": [{"id": stock}]}
    answer = service.client.post("/v1/evaluations", json=body, headers=WAIT)

    found = answer.json()
    assert (answer.status_code, found["status"]) == (201, "invalidated")
    assert (found["invalidated_by"], found["num_images"]) == (receipts.get(timeout=30)["id"], None)
    again = service.client.post("/v1/evaluations", json=body, headers=WAIT)
    assert (again.status_code, again.json()["num_images"]) == (201, 23)


def test_a_component_queued_from_a_changed_dataset_has_its_present_labels(service):
    dataset_id = service.dataset({"cat": 3, "dog": 1})
    delete(service, f"datasets/{dataset_id}/images/{image_id(service, dataset_id, ('dog', 0))}")
    component_id = service.queued(dataset_id)
    assert service.client.get(f"/v1/components/{component_id}").json()["labels"] == ["cat"]
    assert service.client.get("/v1/evaluations").json()["data"] == []


def test_what_was_derived_from_a_component_goes_when_its_content_changes(two):
    service, pets, stock = two
    child = derived(service, "ties", pets, stock)
    grandchild = derived(service, "ties", child, stock)
    kept = derived(service, "ties", stock)
    compose(
        service,
        "mixed",
        [{"id": pets}, {"id": child}, {"id": stock}],
        rule="average",
        space="blocks",
    )

    receipt = remove(service, pets, ("cat", 3))

    body = receipt["body"]
    assert [each["id"] for each in body["components"]] == [pets]
    ids = {each["id"] for each in body["subjects"] if each["kind"] == "component"}
    assert ids == {child, grandchild}
    for each in ids:
        answer = service.client.get(f"/v1/components/{each}")
        assert (answer.status_code, answer.json()["receipt_id"]) == (410, receipt["id"])
        assert list(service.state.blobs.keys(f"components/{each}")) == []
    assert service.client.get(f"/v1/components/{kept}").json()["status"] == "ready"
    parts = service.client.get("/v1/compositions/mixed").json()["components"]
    assert [part["id"] for part in parts] == [pets, stock]
    assert [each["name"] for each in body["invalidated"]["compositions"]] == ["mixed"]
    assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]
