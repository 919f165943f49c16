"""Equal bytes in two splits: without one of them the others are as if it had never come."""

from typing import Any

import pytest

from app.database import row_checksums
from app.database.sessions import transaction
from app.database.tables import Image
from tangent.training.privacy import public_images
from tests.support import privacy
from tests.support.archives import archive
from tests.support.client import delete, upload, verify
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.splits import component, listed
from tests.support.unlearning import delta

Files = dict[str, bytes]
SAME = image("cat", 50)
OWN = {f"train/{label}/{n}.png": image(label, n) for label in ("cat", "dog") for n in (0, 1)}
HELD_BACK = {"test/dog/same.png": SAME}
WORLDS: dict[str, tuple[list[Files], list[str]]] = {
    "added": (
        [OWN | {"train/cat/same.png": SAME}, HELD_BACK | {"test/dog/9.png": image("dog", 9)}],
        ["test/dog/same.png", "test/dog/9.png"],
    ),
    "added, training last": (
        [OWN | HELD_BACK, {"train/cat/same.png": SAME, "test/dog/9.png": image("dog", 9)}],
        ["test/dog/same.png", "test/dog/9.png"],
    ),
    "one upload": ([OWN | {"train/owl/same.png": SAME} | HELD_BACK], ["test/dog/same.png"]),
    "with a training image": (
        [OWN | {"train/cat/same.png": SAME} | HELD_BACK],
        ["train/dog/0.png", "test/dog/same.png"],
    ),
    "with all other training images": (
        [OWN | {"train/owl/same.png": SAME} | HELD_BACK],
        [*OWN, "test/dog/same.png"],
    ),
}


def stored(service: Service, parts: list[Files]) -> tuple[str, str]:
    """Upload the first files, train on them, and add the others; return dataset and component."""
    dataset_id = upload(service, archive(parts[0]))["id"]
    component_id = service.train(service.queued(dataset_id))
    for files in parts[1:]:
        sent = {"file": ("more.zip", archive(files))}
        service.client.post(f"/v1/datasets/{dataset_id}/images", files=sent).raise_for_status()
    return dataset_id, component_id


def splits(service: Service, dataset_id: str) -> dict[str, str | None]:
    return {each["path"]: each["split"] for each in listed(service, dataset_id)}


def ids(service: Service, dataset_id: str) -> dict[str, str]:
    return {each["path"]: each["id"] for each in listed(service, dataset_id)}


def remove(service: Service, dataset_id: str, *paths: str) -> dict[str, Any]:
    """Delete the images by one request; return the receipt."""
    named = ids(service, dataset_id)
    body = {"ids": [named[path] for path in paths]}
    answer = service.client.post(f"/v1/datasets/{dataset_id}/images/delete", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("world", WORLDS)
def test_a_deletion_leaves_what_would_be_there_if_its_images_had_never_come(serve, world):
    parts, gone = WORLDS[world]
    service, never = serve(), serve()
    dataset_id, component_id = stored(service, parts)
    left = {path: data for files in parts for path, data in files.items() if path not in gone}
    expected_id, expected = stored(never, [left])
    assert splits(service, dataset_id)[gone[-1]] == "test"

    receipt = remove(service, dataset_id, *gone)

    (outcome,) = receipt["body"]["components"]
    assert outcome["outcome"] == "updated" and verify(service, receipt)["ok"]
    assert delta(service, component_id).content == delta(never, expected).content
    shown, other = component(service, component_id), component(never, expected)
    assert shown["images"] == other["images"]
    assert splits(service, dataset_id) == splits(never, expected_id)
    counted, wanted = (
        each.client.get(f"/v1/datasets/{id_}").json()
        for each, id_ in ((service, dataset_id), (never, expected_id))
    )
    assert (counted["splits"], counted["labels"]) == (wanted["splits"], wanted["labels"])


def test_a_preview_names_what_comes_back_and_what_was_trained_iteratively_is_trained_again(serve):
    service, never = serve(), serve()
    without = OWN | {"train/owl/same.png": SAME}
    adam = {"solver": "adam", "epochs": 1, "l2": 0.01}
    dataset_id, exact = stored(service, [without | HELD_BACK])
    iterative = service.train(service.queued(dataset_id, hyperparameters=adam))
    other_id = upload(never, archive(without))["id"]
    expected = never.train(never.queued(other_id, hyperparameters=adam))
    path = f"datasets/{dataset_id}/images/{ids(service, dataset_id)['test/dog/same.png']}"

    preview = service.client.get(f"/v1/{path}/deletion-preview").json()
    receipt = delete(service, path)

    outcomes = {exact: "updated", iterative: "retraining"}
    assert {each["id"]: each["outcome"] for each in preview["components"]} == outcomes
    done = receipt["body"]["components"]
    assert {each["id"]: each["outcome"] for each in done} == outcomes
    assert preview["labels_gone"] == []
    service.train(iterative)
    assert delta(service, iterative).content == delta(never, expected).content


def test_the_strictest_of_those_that_stay_counts(serve):
    service = serve()
    more = {"train/owl/same.png": SAME, "val/emu/same.png": SAME, "test/fox/same.png": SAME}
    dataset_id, component_id = stored(service, [OWN | more])
    before = delta(service, component_id).content

    first = remove(service, dataset_id, "test/fox/same.png")
    counted = {each["split"] for each in listed(service, dataset_id) if "same" in each["path"]}
    same = delta(service, component_id).content
    second = remove(service, dataset_id, "val/emu/same.png")

    outcomes = [each["body"]["components"][0]["outcome"] for each in (first, second)]
    assert outcomes == ["unaffected", "updated"]
    assert counted == {"val"} and same == before != delta(service, component_id).content
    assert splits(service, dataset_id)["train/owl/same.png"] == "train"


@pytest.mark.parametrize("how", ["rename", "correct"])
def test_of_images_that_become_one_what_was_told_of_both_goes_on_counting(serve, how):
    service = serve()
    more = {"train/cat/same.png": SAME, "test/emu/same.png": SAME, "train/owl/same.png": SAME}
    dataset_id, component_id = stored(service, [OWN | more])
    before = delta(service, component_id).content
    path = f"/v1/datasets/{dataset_id}"
    if how == "rename":
        answer = service.client.post(f"{path}/labels", json={"rename": {"emu": "cat"}})
    else:
        image_id = ids(service, dataset_id)["test/emu/same.png"]
        answer = service.client.patch(f"{path}/images/{image_id}", json={"label": "cat"})
    assert answer.status_code == 200, answer.text

    receipt = remove(service, dataset_id, "train/owl/same.png")

    assert receipt["body"]["components"][0]["outcome"] == "unaffected"
    assert splits(service, dataset_id)["train/cat/same.png"] == "test"
    assert delta(service, component_id).content == before


def test_a_private_component_refuses_what_would_come_back(service, monkeypatch):
    monkeypatch.setattr(public_images, "COUNT", 64)
    more = {"train/cat/same.png": SAME, "test/dog/9.png": image("dog", 9)}
    dataset_id = upload(service, archive(OWN | HELD_BACK | more))["id"]
    service.train(privacy.train(service, dataset_id, unit="image"))
    path = f"/v1/datasets/{dataset_id}/images/{ids(service, dataset_id)['test/dog/same.png']}"

    answer = service.client.delete(path)

    problem(answer, 409, "private_component")
    assert splits(service, dataset_id)["train/cat/same.png"] == "test"
    remove(service, dataset_id, "test/dog/9.png")


def test_a_damaged_row_that_might_come_back_refuses_the_deletion(service):
    dataset_id = upload(service, archive(OWN | HELD_BACK | {"train/cat/same.png": SAME}))["id"]
    named = ids(service, dataset_id)
    with transaction(service.state.sessions) as session:
        damaged = [(named["train/cat/same.png"],)]
        row_checksums.mark(session, Image.__table__, damaged)

    answer = service.client.delete(f"/v1/datasets/{dataset_id}/images/{named['test/dog/same.png']}")

    problem(answer, 503, "row_damaged")
