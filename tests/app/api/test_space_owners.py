"""Spaces have owners: what one key may not see does not exist for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.client import WAIT
from tests.support.images import archive, image
from tests.support.keys import made, sending
from tests.support.problems import problem
from tests.support.service import Service

USER = ("read", "predict", "train")


@dataclass
class Parties:
    """A service with an administrator, an owner of a space, and somebody else."""

    service: Service
    owner: httpx.Client
    other: httpx.Client
    owner_id: str
    other_id: str

    def ready(self, client: httpx.Client, space: str, start: int = 0) -> tuple[str, str]:
        """Upload by this client and train there; return the ids of dataset and component."""
        files = {"file": ("images.zip", archive({"cat": 6, "dog": 6}, start), "application/zip")}
        fields = {"space": space, "train": "true"}
        answer = client.post("/v1/datasets", files=files, data=fields)
        assert answer.status_code == 201, answer.text
        component_id = answer.json()["component"]["id"]
        self.service.train(component_id)
        return answer.json()["id"], component_id


@pytest.fixture
def parties(serve: Callable[..., Service]) -> Iterator[Parties]:
    service = serve(api_key="correct-horse-battery")
    owner, other = made(service, *USER), made(service, *USER)
    with ExitStack() as stack:
        clients = [stack.enter_context(sending(service, key["key"])) for key in (owner, other)]
        body = {"name": "mine", "backbone": "resnet_micro_32", "scope": "head"}
        answer = clients[0].post("/v1/spaces", json=body)
        assert answer.status_code == 201, answer.text
        assert (answer.json()["owner"], answer.json()["shared"]) == (owner["id"], False)
        yield Parties(service, *clients, owner["id"], other["id"])


def ids(answer: httpx.Response) -> list[str]:
    return [each.get("id") or each["name"] for each in answer.json()["data"]]


def test_a_space_of_somebody_else_and_all_in_it_do_not_exist(parties: Parties):
    dataset_id, component_id = parties.ready(parties.owner, "mine")
    composed = {"space": "mine", "rule": "average", "components": "all"}
    assert parties.owner.put("/v1/compositions/ours", json=composed).status_code == 201
    selection = {"dataset_id": dataset_id, "composition": "ours"}
    evaluation = parties.owner.post("/v1/evaluations", json=selection, headers=WAIT)
    assert evaluation.status_code == 201, evaluation.text
    shown = f"/v1/evaluations/{evaluation.json()['id']}"
    images = parties.owner.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    picture = f"/v1/datasets/{dataset_id}/images/{images[0]['id']}"
    component = f"/v1/components/{component_id}"
    seen_by_owner = [
        "/v1/spaces/mine",
        f"/v1/datasets/{dataset_id}",
        f"/v1/datasets/{dataset_id}/images",
        picture,
        component,
        f"{component}/delta",
        f"{component}/events",
        f"{component}/deletion-preview",
        "/v1/compositions/ours",
        shown,
    ]
    for path in seen_by_owner:
        assert parties.owner.get(path).status_code == 200, path
        assert parties.service.client.get(path).status_code == 200, path  # scope admin
        refused = parties.other.get(path)
        assert refused.status_code == 404, path
        if path != "/v1/spaces/mine":
            assert "mine" not in refused.text, path
    for noun in ("datasets", "components", "compositions", "evaluations"):
        assert ids(parties.owner.get(f"/v1/{noun}"))
        assert ids(parties.other.get(f"/v1/{noun}")) == []
    assert ids(parties.other.get("/v1/components?space=mine")) == []
    assert ids(parties.other.get("/v1/spaces")) == ["default"]
    assert ids(parties.owner.get("/v1/spaces")) == ["default", "mine"]


def test_nothing_can_be_done_in_a_space_of_somebody_else(parties: Parties):
    dataset_id, component_id = parties.ready(parties.owner, "mine")
    composed = {"space": "mine", "rule": "average", "components": "all"}
    assert parties.owner.put("/v1/compositions/ours", json=composed).status_code == 201
    picture = parties.owner.get(f"/v1/datasets/{dataset_id}/images").json()["data"][0]["id"]
    files = {"file": ("images.zip", archive({"cat": 2}), "application/zip")}
    parent = {"operator": "task_arithmetic", "parents": [{"id": component_id}]}
    selection = {"dataset_id": dataset_id}
    tries: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/datasets", {"files": files, "data": {"space": "mine"}}),
        ("DELETE", f"/v1/datasets/{dataset_id}?cascade=true", {}),
        ("DELETE", f"/v1/datasets/{dataset_id}/images/{picture}", {}),
        ("POST", f"/v1/datasets/{dataset_id}/labels", {"json": {"rename": {"cat": "x"}}}),
        ("POST", "/v1/components", {"json": selection}),
        ("POST", "/v1/components/derive", {"json": parent}),
        ("POST", f"/v1/components/{component_id}/cancel", {}),
        ("DELETE", f"/v1/components/{component_id}", {}),
        ("PUT", "/v1/compositions/new", {"json": composed}),
        ("DELETE", "/v1/compositions/ours", {}),
        ("POST", "/v1/compositions/ours/solve", {"json": selection}),
        ("POST", "/v1/evaluations", {"json": selection}),
        ("PATCH", "/v1/spaces/mine", {"json": {"shared": True}}),
    ]
    for method, path, request in tries:
        answer = parties.other.request(method, path, **request)
        assert answer.status_code == 404, (method, path, answer.text)
    pictures = {"images": ("a.png", image("cat", 60))}
    for fields in ({"space": "mine"}, {"composition": "ours"}, {"components": component_id}):
        answer = parties.other.post("/v1/predictions", files=pictures, data=fields)
        assert answer.status_code == 404, (fields, answer.text)
    in_default = {"space": "default", "rule": "average", "components": [{"id": component_id}]}
    answer = parties.other.put("/v1/compositions/theirs", json=in_default)
    problem(answer, 404, "component_not_found")
    assert parties.owner.get(f"/v1/components/{component_id}").json()["status"] == "ready"


def test_names_that_are_taken_are_told_as_taken(parties: Parties):
    composed = {"space": "mine", "rule": "average", "components": "all"}
    assert parties.owner.put("/v1/compositions/ours", json=composed).status_code == 201
    taken = parties.other.put("/v1/compositions/ours", json=composed | {"space": "default"})
    problem(taken, 409, "composition_name_taken")
    body = {"name": "mine", "backbone": "resnet_micro_32", "scope": "head"}
    problem(parties.other.post("/v1/spaces", json=body), 409, "space_exists")
    assert parties.owner.get("/v1/compositions/ours").json()["space"] == "mine"


def test_a_shared_space_is_everybody_s_until_it_is_no_longer_shared(parties: Parties):
    _, component_id = parties.ready(parties.owner, "mine")
    assert parties.owner.patch("/v1/spaces/mine", json={"shared": True}).json()["shared"]
    assert parties.other.get(f"/v1/components/{component_id}").status_code == 200
    pictures = {"images": ("a.png", image("cat", 60))}
    answer = parties.other.post("/v1/predictions", files=pictures, data={"space": "mine"})
    assert answer.status_code == 200, answer.text
    refused = parties.other.patch("/v1/spaces/mine", json={"shared": False})
    problem(refused, 403, "not_the_owner")
    assert not parties.owner.patch("/v1/spaces/mine", json={"shared": False}).json()["shared"]
    assert parties.other.get(f"/v1/components/{component_id}").status_code == 404


def test_a_receipt_tells_nothing_of_what_others_hold(parties: Parties):
    """Else whoever has a photograph could upload and delete it to learn who else holds it."""
    parties.ready(parties.owner, "mine")
    body = {"name": "theirs", "backbone": "resnet_micro_32", "scope": "head"}
    assert parties.other.post("/v1/spaces", json=body).status_code == 201
    dataset_id, component_id = parties.ready(parties.other, "theirs")
    copy, _ = parties.ready(parties.other, "theirs")
    place = f"/v1/datasets/{dataset_id}/images"
    picture = parties.other.get(place).json()["data"][0]["id"]

    def also_held(path: str) -> Any:
        return parties.other.delete(path).raise_for_status().json()["body"].get("also_held")

    assert also_held(f"{place}/{picture}") == {"datasets": 1, "images": 1, "components": 0}
    assert also_held(f"/v1/datasets/{copy}?cascade=true")["datasets"] == 1
    assert also_held(f"/v1/components/{component_id}") is None
    assert also_held(f"/v1/datasets/{dataset_id}") is None


def test_an_administrator_gives_a_space_to_another_key_or_to_everybody(parties: Parties):
    mine = {"owner": parties.other_id}
    problem(parties.owner.patch("/v1/spaces/mine", json=mine), 403, "not_the_owner")
    admin = parties.service.client
    problem(admin.patch("/v1/spaces/mine", json={"owner": "key_0"}), 404, "key_not_found")
    assert admin.patch("/v1/spaces/mine", json=mine).json()["owner"] == parties.other_id
    assert parties.owner.get("/v1/spaces/mine").status_code == 404
    assert parties.other.get("/v1/spaces/mine").status_code == 200
    assert admin.patch("/v1/spaces/mine", json={"owner": None}).json()["owner"] is None
    assert parties.owner.get("/v1/spaces/mine").status_code == 200


def test_a_deletion_reaches_what_was_made_of_it_in_spaces_of_others(parties: Parties):
    dataset_id, _ = parties.ready(parties.other, "default")
    queued = parties.owner.post("/v1/components", json={"dataset_id": dataset_id, "space": "mine"})
    hidden = queued.json()["id"]
    parties.service.train(hidden)
    assert parties.other.get(f"/v1/components/{hidden}").status_code == 404
    images = parties.other.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    receipt = parties.other.delete(f"/v1/datasets/{dataset_id}/images/{images[0]['id']}?probe=true")
    assert receipt.status_code == 200, receipt.text
    assert hidden in {each["id"] for each in receipt.json()["body"]["components"]}
    receipt = parties.other.delete(f"/v1/datasets/{dataset_id}?cascade=true&probe=true")
    assert receipt.status_code == 200, receipt.text
    assert hidden in {each["id"] for each in receipt.json()["body"]["subjects"]}
    assert parties.owner.get(f"/v1/components/{hidden}").status_code == 410


def test_an_idempotency_key_belongs_to_the_key_that_sent_it(parties: Parties):
    head = {"Idempotency-Key": "upload-1"}

    def upload(client: httpx.Client) -> httpx.Response:
        files = {"file": ("images.zip", archive({"cat": 2}), "application/zip")}
        return client.post("/v1/datasets", files=files, headers=head)

    first, again, others = upload(parties.owner), upload(parties.owner), upload(parties.other)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert others.status_code == 201
    assert others.json()["id"] != first.json()["id"]


def test_the_default_space_and_what_was_there_before_keys_are_everybody_s(service: Service):
    component_id = service.component({"cat": 6, "dog": 6})
    admin = made(service, "admin")["key"]
    with sending(service, admin) as client:
        token = client.post("/v1/keys", json={"name": "a", "scopes": ["read"]}).json()["key"]
    with sending(service, token) as client:
        assert client.get("/v1/spaces/default").json()["owner"] is None
        assert client.get(f"/v1/components/{component_id}").status_code == 200


def test_a_pass_over_a_private_dataset_does_not_exist_for_others(parties: Parties):
    """Whatever answers: the pass names the images of the dataset, and their labels."""
    secret, _ = parties.ready(parties.owner, "mine")
    _, component_id = parties.ready(parties.owner, "default", start=50)
    asked = {"dataset_id": secret, "components": [{"id": component_id}], "space": "default"}
    answer = parties.owner.post("/v1/evaluations", json=asked, headers=WAIT)
    assert answer.status_code == 201, answer.text
    place = f"/v1/evaluations/{answer.json()['id']}"
    assert parties.owner.get(f"{place}/images").json()["data"]
    for path in (place, f"{place}/images"):
        problem(parties.other.get(path), 404, "evaluation_not_found")
    assert ids(parties.other.get("/v1/evaluations")) == []
    assert len(ids(parties.owner.get("/v1/evaluations"))) == 1


def test_the_passes_of_a_private_dataset_stay_hidden_when_it_is_deleted(parties: Parties):
    secret, _ = parties.ready(parties.owner, "mine")
    _, component_id = parties.ready(parties.owner, "default", start=50)
    body = {"dataset_id": secret, "components": [{"id": component_id}]}
    files = {"file": ("images.zip", archive({"cat": 2}), "application/zip")}
    codes = {
        "evaluations": "evaluation_not_found",
        "batch-predictions": "batch_prediction_not_found",
    }
    places = {noun: parties.owner.post(f"/v1/{noun}", json=body).json()["id"] for noun in codes}
    fields = {"components": component_id}
    open_ = parties.owner.post("/v1/batch-predictions", files=files, data=fields).json()["id"]

    assert parties.owner.delete(f"/v1/datasets/{secret}?cascade=true").status_code == 200

    for noun, id_ in places.items():
        problem(parties.other.get(f"/v1/{noun}/{id_}"), 404, codes[noun])
        for client in (parties.owner, parties.service.client):
            shown = client.get(f"/v1/{noun}/{id_}").json()
            assert (shown["status"], shown["dataset_id"]) == ("invalidated", None)
            assert shown["split"] is None and shown["progress"] == {"done": 0, "total": 0}
            assert id_ in ids(client.get(f"/v1/{noun}"))
    assert ids(parties.other.get("/v1/evaluations")) == []
    assert ids(parties.other.get("/v1/batch-predictions")) == [open_]  # of an archive: as before


def test_nobody_learns_by_an_evaluation_which_images_a_private_dataset_holds(parties: Parties):
    files = {"file": ("images.zip", archive({"cat": 6, "dog": 6}), "application/zip")}
    secret = parties.owner.post("/v1/datasets", files=files, data={"space": "mine"}).json()["id"]
    asked = {"dataset_id": secret, "space": "default"}
    component_id = parties.owner.post("/v1/components", json=asked).json()["id"]
    parties.service.train(component_id)
    guess = {"file": ("guess.zip", archive({"cat": 2}, start=5), "application/zip")}  # one is there
    dataset_id = parties.other.post("/v1/datasets", files=guess).json()["id"]
    body = {"dataset_id": dataset_id, "components": [{"id": component_id}]}
    found = parties.other.post("/v1/evaluations", json=body, headers=WAIT).json()
    assert found["status"] == "ready" and found["trained_on"] is None
    assert "a space that others may not see" in found["trained_on_unknown"]
    report = parties.other.get(
        f"/v1/datasets/{dataset_id}/label-report?components={component_id}&all=true"
    )
    assert report.status_code == 200, report.text
    assert {each["left_out_of"] for each in report.json()["images"]} == {0}
