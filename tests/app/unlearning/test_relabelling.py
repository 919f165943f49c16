"""Renaming and merging labels: the result is that of an upload which had them from the start."""

from typing import Any

import httpx
import pytest

from app.database.sessions import transaction
from app.datasets import datasets
from tests.support.archives import archive
from tests.support.client import upload
from tests.support.images import image
from tests.support.service import Service
from tests.support.unlearning import SPACES, delta, occurrences

PICTURES = {
    "cat/1.png": image("cat", 1),
    "cat/2.png": image("cat", 2),
    "kitten/2.png": image("cat", 2),  # equal to a cat once it is one
    "kitten/3.png": image("cat", 3),
    "kitten/copy.png": image("cat", 3),
    "dog/1.png": image("dog", 1),
    "dog/2.png": image("dog", 2),
}
RENAMED = {"kitten": "cat", "dog": "hound"}


def relabel(service: Service, dataset_id: str, names: Any) -> httpx.Response:
    return service.client.post(f"/v1/datasets/{dataset_id}/labels", json={"rename": names})


def as_if(files: dict[str, bytes], names: dict[str, str]) -> dict[str, bytes]:
    """The archive with these labels from the start."""
    return {
        f"{names.get(label, label)}/{label}-{name}": data
        for path, data in files.items()
        for label, name in [path.split("/")]
    }


@pytest.mark.parametrize(
    "names",
    [RENAMED, {"cat": "dog", "dog": "cat"}, {"cat": "dog", "kitten": "dog"}],
    ids=["merge", "swap", "all"],
)
@pytest.mark.parametrize("space", ["default", "declared"])
def test_an_exact_component_has_at_once_the_file_of_an_upload_with_the_new_labels(
    shared, names, space
):
    make_spaces(shared)
    dataset_id = upload(shared, archive(PICTURES))["id"]
    component_id = shared.train(shared.queued(dataset_id, space))
    other_id = upload(shared, archive(as_if(PICTURES, names)))["id"]
    other = shared.train(shared.queued(other_id, space))

    answer = relabel(shared, dataset_id, names)

    assert answer.status_code == 200, answer.text
    receipt = answer.json()["receipt"]
    (outcome,) = receipt["body"]["components"]
    expected = shared.client.get(f"/v1/components/{other}").json()
    shown = shared.client.get(f"/v1/components/{component_id}").json()
    assert (outcome["outcome"], outcome["new_sha256"]) == ("relabelled", expected["sha256"])
    assert delta(shared, component_id).content == delta(shared, other).content
    same = ("status", "images", "labels", "sha256", "bytes")
    assert {name: shown[name] for name in same} == {name: expected[name] for name in same}
    changed = shared.client.get(f"/v1/datasets/{dataset_id}").json()
    never = shared.client.get(f"/v1/datasets/{other_id}").json()
    same = ("num_images", "labels", "duplicates")
    assert {name: changed[name] for name in same} == {name: never[name] for name in same}
    assert contents(shared, dataset_id) == contents(shared, other_id)
    assert shared.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]


def make_spaces(service: Service) -> None:
    for name in ("declared", "blocks"):
        if service.client.get(f"/v1/spaces/{name}").status_code == 404:
            assert (
                service.client.post("/v1/spaces", json={"name": name} | SPACES[name]).status_code
                == 201
            )


def contents(service: Service, dataset_id: str) -> list[tuple]:
    """Label, bytes and copies of every image; the bytes read from the pack."""
    with transaction(service.state.reading) as session:
        dataset = datasets.get(session, dataset_id)
        rows = datasets.rows(session, dataset_id)
    return [
        (row.label, datasets.read(service.state.blobs, dataset, row), row.copies) for row in rows
    ]


def test_an_iterated_component_is_dropped_and_trained_anew_with_the_new_labels(serve):
    service = serve()
    make_spaces(service)
    dataset_id = upload(service, archive(PICTURES))["id"]
    component_id = service.train(service.queued(dataset_id, "blocks"))
    other_id = upload(service, archive(as_if(PICTURES, RENAMED)))["id"]
    other = service.train(service.queued(other_id, "blocks"))
    old = delta(service, component_id).content

    receipt = relabel(service, dataset_id, RENAMED).json()["receipt"]

    assert receipt["body"]["components"] == [{"id": component_id, "outcome": "retraining"}]
    assert receipt["body"]["subject"] == {"kind": "labels", "id": dataset_id}
    assert not occurrences(service, old[-512:])
    service.train(component_id)
    assert delta(service, component_id).content == delta(service, other).content
    assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]


def test_an_old_label_is_told_of_by_paths_alone(serve):
    service = serve()
    files = {f"Quittengelee/{n}.png": image("cat", n) for n in range(3)} | {"x.csv": b"a,b\n"}
    rows = "".join(f"Q/{n}.png,Quittengelee\n" for n in range(3))
    files = {f"Q/{n}.png": image("cat", n) for n in range(3)}
    files |= {"metadata.csv": f"file_name,label\n{rows}".encode()}
    dataset_id = upload(service, archive(files))["id"]
    service.train(service.queued(dataset_id))
    assert occurrences(service, b"Quittengelee")

    assert relabel(service, dataset_id, {"Quittengelee": "quince"}).status_code == 200

    assert not occurrences(service, b"Quittengelee")
    assert service.client.get("/v1/spaces/default").json()["labels"] == ["quince"]


@pytest.mark.parametrize(
    ("names", "status", "code"),
    [
        ({"owl": "bird"}, 422, "unknown_label"),
        ({"cat": "cat"}, 422, "nothing_renamed"),
        ({"cat": " "}, 422, "bad_label"),
        ({"cat": "c" * 300}, 422, "bad_label"),
        ({"cat": "a\nb"}, 422, "bad_label"),
        ({"cat": "\0"}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"cat": 7}, 422, "invalid_request"),
        (["cat"], 422, "invalid_request"),
    ],
)
def test_names_that_cannot_be_given_are_refused_and_change_nothing(shared, names, status, code):
    dataset_id = upload(shared, archive(PICTURES))["id"]
    before = shared.client.get(f"/v1/datasets/{dataset_id}").json()

    answer = relabel(shared, dataset_id, names)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert shared.client.get(f"/v1/datasets/{dataset_id}").json() == before


def test_a_dataset_that_is_not_there_cannot_be_relabelled(shared):
    assert relabel(shared, "ds_none", {"a": "b"}).json()["code"] == "dataset_not_found"
    dataset_id = upload(shared, archive(PICTURES))["id"]
    shared.client.delete(f"/v1/datasets/{dataset_id}")
    assert relabel(shared, dataset_id, {"cat": "b"}).json()["code"] == "dataset_deleted"


def test_a_repeated_swap_with_the_same_key_is_one_swap(shared):
    dataset_id = upload(
        shared, archive({"cat/1.png": image("cat", 1), "dog/2.png": image("dog", 2)})
    )["id"]
    url, key = f"/v1/datasets/{dataset_id}/labels", {"Idempotency-Key": "swap"}
    body = {"rename": {"cat": "dog", "dog": "cat"}}

    answers = [shared.client.post(url, json=body, headers=key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    other = shared.client.post(url, json={"rename": {"cat": "cow"}}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    again = shared.client.post(url, json=body)
    assert again.json()["receipt"]["id"] != answers[0].json()["receipt"]["id"]
    receipt = shared.client.delete(f"/v1/datasets/{dataset_id}").json()
    assert {"kind": "idempotency_keys", "count": 1} in receipt["body"]["removed"]
