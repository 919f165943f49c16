"""Images added to a dataset: the service is, to the byte, as if they had been uploaded with it."""

import json
from typing import Any

import httpx
import pytest

from app.database.sessions import transaction
from app.datasets import datasets
from tests.support.archives import archive
from tests.support.client import WAIT, compose, delete, predict, upload, verify
from tests.support.images import image
from tests.support.service import Service
from tests.support.unlearning import SPACES, delta, occurrences

OLD = {
    "cat/1.png": image("cat", 1),
    "cat/2.png": image("cat", 2),
    "dog/1.png": image("dog", 1),
    "dog/notes.txt": b"not an image",
}
NEW = {
    "cat/1-again.png": image("cat", 1),  # held already
    "cat/3.png": image("cat", 3),
    "cat/3-copy.png": image("cat", 3),
    "dog/2.png": image("cat", 2),  # held under another label
    "owl/1.png": image("owl", 1),
    "owl/more.txt": b"nor this",
}


def add(service: Service, dataset_id: str, packed: bytes, **more: Any) -> httpx.Response:
    files = {"file": ("next-week.zip", packed)}
    return service.client.post(f"/v1/datasets/{dataset_id}/images", files=files, **more)


def contents(service: Service, dataset_id: str) -> list[tuple]:
    """Label, bytes and copies of every image; the bytes read from the pack."""
    with transaction(service.state.reading) as session:
        dataset = datasets.get(session, dataset_id)
        rows = datasets.rows(session, dataset_id)
    return [
        (row.label, datasets.read(service.state.blobs, dataset, row), row.copies) for row in rows
    ]


@pytest.mark.parametrize("settings", [{}, {"views": 4, "l2": "auto"}])
@pytest.mark.parametrize("space", ["default", "declared"])
def test_an_exact_component_has_at_once_the_file_of_an_upload_of_all_images(serve, space, settings):
    service, never = serve(), serve()
    for each in (service, never):
        if SPACES[space]:
            each.client.post("/v1/spaces", json={"name": space} | SPACES[space])
    dataset_id, whole = upload(service, archive(OLD))["id"], upload(never, archive(OLD | NEW))
    component_id = service.train(service.queued(dataset_id, space, hyperparameters=settings))
    other = never.train(never.queued(whole["id"], space, hyperparameters=settings))

    answer = add(service, dataset_id, archive(NEW))

    assert answer.status_code == 200, answer.text
    assert delta(service, component_id).content == delta(never, other).content
    shown, expected = (
        each.client.get(f"/v1/components/{id_}").json()
        for each, id_ in ((service, component_id), (never, other))
    )
    same = ("status", "sha256", "bytes", "images", "labels")
    assert {name: shown[name] for name in same} == {name: expected[name] for name in same}
    assert contents(service, dataset_id) == contents(never, whole["id"])
    changed = service.client.get(f"/v1/datasets/{dataset_id}").json()
    same = ("num_images", "labels", "splits", "duplicates", "num_rejected", "rejected", "files")
    same = (*same, "warnings", "near_duplicates")
    assert {name: changed[name] for name in same} == {name: whole[name] for name in same}
    assert changed["sha256"] is None
    seen = [predict(each, image("cat", 60), space=space) for each in (service, never)]
    assert seen[0].json()["results"] == seen[1].json()["results"]
    receipt = answer.json()["receipt"]
    body = receipt["body"]
    assert body["subject"] == {"kind": "images", "id": dataset_id} and body["subjects"] == []
    assert body["added_images"] == 3 and body["components"][0]["outcome"] == "updated"
    assert verify(service, receipt)["ok"]


def test_what_is_added_in_parts_in_any_order_gives_the_same_bytes(serve):
    paths = [path for path in (OLD | NEW) if path.endswith(".png")]
    made = []
    for order in (paths, paths[::-1]):
        service = serve()
        files = {path: (OLD | NEW)[path] for path in order}
        first, *rest = ({path: files[path]} for path in files)
        dataset_id = upload(service, archive(first))["id"]
        component_id = service.train(service.queued(dataset_id))
        for each in rest:
            assert add(service, dataset_id, archive(each)).status_code == 200
        made.append((delta(service, component_id).content, contents(service, dataset_id)))

    assert made[0][0] == made[1][0]
    assert [each[:2] for each in made[0][1]] == [each[:2] for each in made[1][1]]


def test_the_answer_tells_what_became_of_the_archive(shared):
    dataset_id = upload(shared, archive(OLD))["id"]

    answer = add(shared, dataset_id, archive(NEW)).json()

    told = answer["archive"]
    assert (told["added"], told["already_held"], told["num_rejected"]) == (3, 2, 1)
    assert [each["path"] for each in told["rejected"]] == ["owl/more.txt"]
    assert told["files"]["total"] == 6
    assert [each["path"] for each in answer["rejected"]] == ["dog/notes.txt", "owl/more.txt"]
    listed = shared.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    assert [each["path"] for each in listed] == [
        *("cat/1.png", "cat/2.png", "dog/1.png", "cat/3.png", "dog/2.png", "owl/1.png")
    ]
    for each in listed:
        file = shared.client.get(f"/v1/datasets/{dataset_id}/images/{each['id']}").content
        assert file == (OLD | NEW)[each["path"]]


def test_images_that_are_all_held_change_nothing(serve):
    service = serve()
    dataset_id = upload(service, archive(OLD))["id"]
    before = service.client.get(f"/v1/datasets/{dataset_id}").json()

    answer = add(service, dataset_id, archive({"cat/x.png": image("cat", 1)})).json()

    assert (answer["archive"]["added"], answer["receipt"]) == (0, None)
    assert service.client.get(f"/v1/datasets/{dataset_id}").json() == before
    assert service.client.get("/v1/receipts").json()["data"] == []


def test_what_was_measured_without_the_new_images_is_dropped(serve):
    service = serve()
    dataset_id = upload(service, archive(OLD))["id"]
    service.train(service.queued(dataset_id))
    compose(service, "all", rule="joint")
    body = {"dataset_id": dataset_id, "composition": "all"}
    made = service.client.post("/v1/evaluations", json=body, headers=WAIT).json()

    receipt = add(service, dataset_id, archive(NEW)).json()["receipt"]

    assert receipt["body"]["invalidated"]["evaluations"] == [made["id"]]
    assert service.client.get(f"/v1/evaluations/{made['id']}").json()["status"] == "invalidated"


def test_components_that_are_no_function_of_sums_are_trained_again_with_the_images(serve):
    service, never = serve(), serve()
    for each in (service, never):
        each.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
    dataset_id = upload(service, archive(OLD))["id"]
    ready = service.train(service.queued(dataset_id, "blocks"))
    waiting = service.queued(dataset_id)
    whole = upload(never, archive(OLD | NEW))["id"]
    other = never.train(never.queued(whole, "blocks"))
    expected = never.train(never.queued(whole))

    receipt = add(service, dataset_id, archive(NEW)).json()["receipt"]

    outcomes = {each["id"]: each["outcome"] for each in receipt["body"]["components"]}
    assert outcomes == {ready: "retraining", waiting: "queued"}
    for mine, theirs in ((ready, other), (waiting, expected)):
        service.train(mine)
        assert delta(service, mine).content == delta(never, theirs).content


def test_one_image_can_be_added_and_deleted_and_leaves_nothing(serve):
    service, never = serve(), serve()
    dataset_id, other_id = (upload(each, archive(OLD))["id"] for each in (service, never))
    component_id = service.train(service.queued(dataset_id))
    other = never.train(never.queued(other_id))
    secret = image("Quittengelee", 77)
    added = add(service, dataset_id, archive({"Quittengelee/77.png": secret})).json()
    listed = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]

    receipt = delete(service, f"datasets/{dataset_id}/images/{listed[-1]['id']}")

    assert listed[-1]["label"] == "Quittengelee" and added["archive"]["added"] == 1
    assert delta(service, component_id).content == delta(never, other).content
    assert not occurrences(service, b"Quittengelee") and not occurrences(service, secret[60:])
    assert verify(service, receipt)["ok"] and verify(service, added["receipt"])["ok"]
    again = add(service, dataset_id, archive({"owl/1.png": image("owl", 1)})).json()
    news = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"][-1]
    assert again["archive"]["added"] == 1 and news["id"] > listed[-1]["id"]  # no id comes twice
    (pack,) = service.state.blobs.keys(f"datasets/{dataset_id}")
    size = service.state.blobs.path(pack).stat().st_size
    assert size == sum(len(data) for path, data in OLD.items() if path.endswith("png")) + len(
        image("owl", 1)
    )


def test_splits_are_those_of_one_upload_and_a_held_back_image_is_unlearned(serve):
    service, never = serve(), serve()
    old = {"train/cat/1.png": image("cat", 1), "train/cat/2.png": image("cat", 2)}
    old |= {"train/dog/1.png": image("dog", 1), "val/dog/2.png": image("dog", 2)}
    new = {"train/dog/3.png": image("dog", 3), "val/dog/4.png": image("dog", 4)}
    new |= {"test/cat/2.png": image("cat", 2), "train/dog/2.png": image("dog", 2)}
    dataset_id, whole = upload(service, archive(old))["id"], upload(never, archive(old | new))
    component_id = service.train(service.queued(dataset_id))
    other = never.train(never.queued(whole["id"]))

    answer = add(service, dataset_id, archive(new)).json()

    assert answer["splits"] == whole["splits"] == {"test": 1, "train": 3, "val": 2}
    assert delta(service, component_id).content == delta(never, other).content
    assert verify(service, answer["receipt"])["ok"]
    again = add(service, dataset_id, archive(new)).json()
    assert again["receipt"] is None


def test_held_back_images_that_come_leave_components_as_they_are(serve):
    service = serve()
    dataset_id = upload(service, archive({"train/cat/1.png": image("cat", 1)}))["id"]
    component_id = service.train(service.queued(dataset_id))
    before = service.client.get(f"/v1/components/{component_id}").json()

    new = {"val/cat/2.png": image("cat", 2), "train/x.txt": b""}
    receipt = add(service, dataset_id, archive(new)).json()["receipt"]

    assert receipt["body"]["components"][0]["outcome"] == "unaffected"
    assert service.client.get(f"/v1/components/{component_id}").json() == before
    held_back = {"test/cat/1.png": image("cat", 1), "train/x.txt": b""}
    answer = add(service, dataset_id, archive(held_back))
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_left_to_train")


@pytest.mark.parametrize(
    ("files", "status", "code"),
    [
        ({"owl/1.png": image("owl", 1), "emu/1.png": image("emu", 1)}, 413, "too_many_labels"),
        ({f"cat/{n}.png": image("cat", n) for n in range(20, 24)}, 413, "too_many_images"),
        ({"cat/a.txt": b"nothing"}, 422, "no_images"),
        ({"1.png": image("cat", 9)}, 422, "no_labels"),
    ],
)
def test_what_would_be_too_much_and_what_holds_no_images_is_refused(serve, files, status, code):
    service = serve(max_labels=3, max_dataset_images=6)
    dataset_id = upload(service, archive(OLD))["id"]
    before = service.client.get(f"/v1/datasets/{dataset_id}").json()
    keys = list(service.state.blobs.keys())

    answer = add(service, dataset_id, archive(files))

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert service.client.get(f"/v1/datasets/{dataset_id}").json() == before
    assert list(service.state.blobs.keys()) == keys and not list(
        service.state.blobs.scratch.iterdir()
    )


def test_a_dataset_that_is_not_there_gets_nothing(shared):
    answer = add(shared, "ds_none", archive(NEW))
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")
    answer = shared.client.post("/v1/datasets/ds_none/images", content=json.dumps({}))
    assert answer.status_code == 415


def test_a_dataset_of_before_there_were_warnings_takes_images_and_has_the_new_ones(serve):
    service = serve()
    dataset_id = upload(service, archive(OLD))["id"]
    with transaction(service.state.sessions) as session:
        row = datasets.get(session, dataset_id)
        row.files = {key: row.files[key] for key in row.files if key != "warnings"}

    assert add(service, dataset_id, archive(NEW)).status_code == 200


def test_a_pack_without_all_its_bytes_takes_no_more(serve):
    service = serve()
    dataset_id = upload(service, archive(OLD))["id"]
    (pack,) = service.state.blobs.keys(f"datasets/{dataset_id}")
    path = service.state.blobs.path(pack)
    path.write_bytes(path.read_bytes()[:100])

    answer = add(service, dataset_id, archive(NEW))

    assert (answer.status_code, answer.json()["code"]) == (503, "image_damaged")
    assert list(service.state.blobs.keys(f"datasets/{dataset_id}")) == [pack]
