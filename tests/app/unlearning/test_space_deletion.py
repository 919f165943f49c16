"""A space is deleted with all that is in it; nothing of it comes back under its name."""

import httpx
import pytest

from app.store import spaces
from tests.support.client import WAIT, compose, predict, until_ended, verify
from tests.support.images import archive
from tests.support.keys import by
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
PETS = archive({"cat": 2, "dog": 2})
BODY = {"name": "scans", "backbone": "resnet_micro_32", "scope": "head", "labels": ["owl"]}


def opened(service: Service, **change: object) -> str:
    answer = service.client.post("/v1/spaces", json=BODY | change)
    assert answer.status_code == 201, answer.text
    return answer.json()["name"]


def test_a_space_in_use_is_refused_with_what_is_in_it(service: Service):
    opened(service)
    part = service.component({"cat": 3}, space="scans")
    compose(service, "all-scans", space="scans")
    told = problem(service.client.delete("/v1/spaces/scans"), 409, "space_in_use")
    assert (told["components"], told["compositions"]) == ([part], ["all-scans"])
    service.client.delete(f"/v1/components/{part}")
    told = problem(service.client.delete("/v1/spaces/scans"), 409, "space_in_use")
    assert (told["components"], told["compositions"]) == ([], ["all-scans"])
    service.client.delete("/v1/compositions/all-scans")
    assert service.client.delete("/v1/spaces/scans").status_code == 200
    problem(service.client.get("/v1/spaces/scans"), 404, "space_not_found")


def test_a_cascade_unlearns_all_that_is_in_it_and_nothing_else(either: Service):
    opened(either)
    dataset = either.dataset({"cat": 3, "dog": 3}, space="scans")
    part = either.train(either.queued(dataset, space="scans"))
    waiting = either.queued(dataset, space="scans")
    kept = either.train(either.queued(dataset))
    compose(either, "named", [part], space="scans")
    compose(either, "all-scans", space="scans")
    compose(either, "elsewhere", [kept])
    body = {"dataset_id": dataset, "space": "scans"}
    evaluation = either.client.post("/v1/evaluations", json=body, headers=WAIT).json()["id"]
    batch = either.client.post("/v1/batch-predictions", json=body).json()["id"]
    until_ended(either, f"batch-predictions/{batch}")
    stored = list(either.state.blobs.keys())
    files = {key for key in stored if part in key or batch in key}
    assert len(files) > 1

    answer = either.client.delete("/v1/spaces/scans?cascade=true")

    assert answer.status_code == 200, answer.text
    receipt = answer.json()
    found = receipt["body"]
    assert found["subject"] == {"kind": "space", "id": "scans"}
    assert [each["id"] for each in found["subjects"]] == [part, waiting]
    counts = {each["kind"]: each["count"] for each in found["removed"]}
    assert (counts["components"], counts["compositions"], counts["spaces"]) == (2, 2, 1)
    assert (counts["evaluations"], counts["batch_predictions"]) == (1, 1)
    assert found["invalidated"]["evaluations"] == [evaluation]
    assert found["invalidated"]["batch_predictions"] == [batch]
    assert found["labels"][0]["count"] == 3 and found["manifests"][0]["components_after"] == 0
    assert verify(either, receipt)["ok"], verify(either, receipt)
    for path, status in {
        f"components/{part}": 410,
        "compositions/named": 404,
        "compositions/all-scans": 404,
        f"evaluations/{evaluation}": 404,
        f"batch-predictions/{batch}": 404,
        "spaces/scans": 404,
        f"datasets/{dataset}": 200,
        f"components/{kept}": 200,
        "compositions/elsewhere": 200,
    }.items():
        assert either.client.get(f"/v1/{path}").status_code == status, path
    assert not files & set(either.state.blobs.keys())
    assert predict(either, composition="elsewhere").status_code == 200


def test_nothing_comes_back_with_the_name(service: Service):
    opened(service)
    old = service.component({"cat": 3}, space="scans")
    first = service.client.delete("/v1/spaces/scans?cascade=true").json()
    assert opened(service, backbone="vit_micro_32", labels=[]) == "scans"
    shown = service.client.get("/v1/spaces/scans").json()
    assert (shown["backbone"], shown["labels"]) == ("vit_micro_32", [])
    problem(predict(service, space="scans"), 409, "no_components")
    service.component({"dog": 3}, space="scans")
    answer = predict(service, space="scans").json()
    assert [each["label"] for each in answer["results"][0]["predictions"]] == ["dog"]
    assert verify(service, first)["ok"]
    again = service.client.delete("/v1/spaces/scans?cascade=true").json()
    assert verify(service, again)["ok"] and verify(service, first)["ok"]
    problem(service.client.get(f"/v1/components/{old}"), 410, "component_deleted")


def test_what_was_made_in_the_space_is_not_made_by_a_late_retry_in_one_of_its_name(either: Service):
    dataset = either.dataset({"cat": 12, "dog": 12})
    body = {"dataset_id": dataset, "space": "scans"}
    requests: dict[str, dict[str, str]] = {
        "evaluations": body,
        "batch-predictions": body,
        "compositions/fitted/solve": {"dataset_id": dataset},
    }

    def send(route: str) -> httpx.Response:
        headers = WAIT | {"Idempotency-Key": "k1"}
        return either.client.post(f"/v1/{route}", json=requests[route], headers=headers)

    def fill() -> None:
        opened(either)
        part = either.train(either.queued(dataset, space="scans"))
        compose(either, "fitted", [part], space="scans")

    fill()
    assert [send(route).status_code for route in requests] == [201, 202, 200]
    receipt = either.client.delete("/v1/spaces/scans?cascade=true").json()
    assert {"kind": "idempotency_keys", "count": 3} in receipt["body"]["removed"]
    assert verify(either, receipt)["ok"]
    fill()
    for route in requests:
        again = problem(send(route), 410, "idempotency_key_spent")
        assert again["receipt_id"] == receipt["id"], route


def test_the_default_space_stays(service: Service):
    service.component({"cat": 3})
    answer = service.client.delete("/v1/spaces/default?cascade=true")
    problem(answer, 409, "default_space")
    assert predict(service).status_code == 200


def test_an_empty_space_is_deleted_with_a_receipt(service: Service):
    opened(service)
    receipt = service.client.delete("/v1/spaces/scans").json()
    assert receipt["body"]["subjects"] == []
    assert verify(service, receipt)["ok"]
    problem(service.client.delete("/v1/spaces/scans"), 404, "space_not_found")


def test_only_its_owner_deletes_a_space_and_its_datasets_are_shown_to_nobody_else(serve):
    service = serve(api_key="k" * 32)
    with by(service, "train", "read") as owner, by(service, "train", "read") as other:
        for name in ("mine", "ours"):
            body = BODY | {"name": name, "shared": name == "ours"}
            assert owner.post("/v1/spaces", json=body).status_code == 201
        problem(other.delete("/v1/spaces/mine"), 404, "space_not_found")
        problem(other.delete("/v1/spaces/ours"), 403, "not_the_owner")
        datasets = {}
        for name in ("mine", "ours"):
            from_pets = {"file": ("a.zip", PETS)}
            made = owner.post("/v1/datasets", files=from_pets, data={"space": name}).json()
            datasets[name] = f"/v1/datasets/{made['id']}"
        told = problem(owner.delete("/v1/spaces/mine?cascade=true"), 409, "space_has_datasets")
        assert told["datasets"] == [datasets["mine"].rpartition("/")[2]]
        assert other.get(datasets["mine"]).status_code == 404
        assert owner.delete("/v1/spaces/ours").status_code == 200
        assert other.get(datasets["ours"]).status_code == 200
        assert owner.delete(datasets["mine"]).status_code == 200
        assert owner.delete("/v1/spaces/mine").status_code == 200


@pytest.mark.parametrize("route", ["components", "compositions/late", "datasets"])
def test_nothing_is_added_to_a_space_that_is_deleted_meanwhile(
    service: Service, monkeypatch: pytest.MonkeyPatch, route: str
):
    """The space is there when the request is read, and gone when its transaction adds to it."""
    opened(service)
    dataset, hold = service.dataset({"cat": 2}), spaces.hold

    def overtaken(session, space):
        hold(session, type(space)(name="gone", fingerprint=space.fingerprint))

    monkeypatch.setattr(spaces, "hold", overtaken)
    if route == "datasets":
        answer = service.client.post(
            "/v1/datasets", files={"file": ("a.zip", PETS)}, data={"space": "scans"}
        )
    elif route == "components":
        answer = service.client.post(
            "/v1/components", json={"dataset_id": dataset, "space": "scans"}
        )
    else:
        body = {"space": "scans", "rule": "joint", "components": "all"}
        answer = service.client.put("/v1/compositions/late", json=body)
    problem(answer, 404, "space_not_found")
