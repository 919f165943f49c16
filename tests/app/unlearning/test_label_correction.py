"""Correcting one image's label: the service is, to the byte, as if it had come with that label."""

from typing import Any

import httpx
import pytest

from app.database.sessions import transaction
from app.datasets import datasets
from tests.support.archives import archive
from tests.support.client import WAIT, compose, delete, upload, verify
from tests.support.images import image, packed
from tests.support.service import Service
from tests.support.unlearning import COUNTS, FILES, GONE, SPACES, delta, image_id, occurrences


def correct(service: Service, dataset_id: str, image_id: str, label: Any) -> httpx.Response:
    path = f"/v1/datasets/{dataset_id}/images/{image_id}"
    return service.client.patch(path, json={"label": label})


def archive_of(moved: str) -> dict[str, bytes]:
    """The files of all tests here, one of them under another label from the start."""
    files = {f"{label}/{label}-{n}.png": image(label, n) for label, n in FILES}
    gone = f"{GONE[0]}/{GONE[0]}-{GONE[1]}.png"
    return {f"{moved}/moved.png" if path == gone else path: data for path, data in files.items()}


def contents(service: Service, dataset_id: str) -> list[tuple]:
    """Label, bytes and copies of every image; the bytes read from the pack."""
    with transaction(service.state.reading) as session:
        dataset = datasets.get(session, dataset_id)
        rows = datasets.rows(session, dataset_id)
    return [
        (row.label, datasets.read(service.state.blobs, dataset, row), row.copies) for row in rows
    ]


@pytest.mark.parametrize("label", ["cat", "owl"])
@pytest.mark.parametrize("settings", [{}, {"views": 4, "l2": "auto"}])
@pytest.mark.parametrize("space", ["default", "declared"])
def test_an_exact_component_has_at_once_the_file_of_an_upload_with_the_right_label(
    serve, space, settings, label
):
    made = []
    for files in (packed(FILES), archive(archive_of(label))):
        service = serve()
        if SPACES[space]:
            service.client.post("/v1/spaces", json={"name": space} | SPACES[space])
        dataset_id = upload(service, files)["id"]
        queued = service.queued(dataset_id, space=space, hyperparameters=settings)
        made.append((service, dataset_id, service.train(queued)))
    (service, dataset_id, component_id), (never, other_id, other) = made
    wrong = image_id(service, dataset_id)

    answer = correct(service, dataset_id, wrong, label)

    assert answer.status_code == 200, answer.text
    receipt = answer.json().pop("receipt")
    assert (answer.json()["id"], answer.json()["label"]) == (wrong, label)
    assert delta(service, component_id).content == delta(never, other).content
    shown, expected = (
        each.client.get(f"/v1/components/{id_}").json()
        for each, id_ in ((service, component_id), (never, other))
    )
    same = ("status", "sha256", "bytes", "images", "labels")
    assert {name: shown[name] for name in same} == {name: expected[name] for name in same}
    assert shown["metrics"]["l2"] == expected["metrics"]["l2"]
    assert contents(service, dataset_id) == contents(never, other_id)
    spaces = [each.client.get(f"/v1/spaces/{space}").json()["labels"] for each in (service, never)]
    assert spaces[0] == spaces[1]
    body = receipt["body"]
    assert body["subject"] == {"kind": "label", "id": wrong, "dataset_id": dataset_id}
    assert body["subjects"] == [] and body["components"][0]["outcome"] == "relabelled"
    assert verify(service, receipt)["ok"]


def test_the_only_image_of_a_dataset_can_get_another_label(serve):
    service = serve()
    dataset_id = upload(service, packed([("cat", 0)]))["id"]
    component_id = service.train(service.queued(dataset_id))

    assert correct(service, dataset_id, image_id(service, dataset_id, ("cat", 0)), "dog").is_success

    shown = service.client.get(f"/v1/components/{component_id}").json()
    assert (shown["status"], shown["images"]) == ("ready", {"dog": 1})
    assert service.client.get(f"/v1/datasets/{dataset_id}").json()["labels"] == {"dog": 1}


@pytest.mark.parametrize("first", ["cat", "dog"])
def test_of_two_that_become_equal_the_first_stays_and_counts_both(serve, first):
    service, never = serve(), serve()
    other = {"cat": "dog", "dog": "cat"}[first]
    files = {f"{first}/1.png": image("cat", 1), f"{other}/1.png": image("cat", 1)}
    files |= {f"{label}/2.png": image(label, 2) for label in ("cat", "dog")}
    dataset_id = upload(service, archive(files))["id"]
    component_id = service.train(service.queued(dataset_id))
    right = {f"cat/{path.replace('/', '-')}": data for path, data in files.items()}
    right["dog/2.png"] = right.pop("cat/dog-2.png")
    other_id = upload(never, archive(right))["id"]
    expected = never.train(never.queued(other_id))
    listed = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    ids = {each["path"]: each["id"] for each in listed}

    answer = correct(service, dataset_id, ids["dog/1.png"], "cat").json()

    kept, gone = ids[f"{first}/1.png"], ids[f"{other}/1.png"]
    assert (answer["id"], answer["label"]) == (kept, "cat")
    assert answer["receipt"]["body"]["subjects"][0]["id"] == gone
    assert contents(service, dataset_id) == contents(never, other_id)
    assert delta(service, component_id).content == delta(never, expected).content
    assert verify(service, answer["receipt"])["ok"]
    again = correct(service, dataset_id, gone, "dog")
    assert (again.status_code, again.json()["code"]) == (410, "image_deleted")


def test_one_that_stays_is_in_the_group_of_its_equal(shared):
    files = {"a.png": image("cat", 1), "b.png": image("cat", 1), "c.png": image("dog", 2)}
    rows = "file_name,label,group\na.png,cat,\nb.png,dog,patient-7\nc.png,dog,\n"
    dataset_id = upload(shared, archive(files | {"metadata.csv": rows.encode()}))["id"]
    listed = shared.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]

    answer = correct(shared, dataset_id, listed[1]["id"], "cat").json()

    assert (answer["id"], answer["group"]) == (listed[0]["id"], "patient-7")


def test_an_iterated_component_is_dropped_at_once_and_trained_anew(serve):
    made = []
    for files in (packed(FILES), archive(archive_of("cat"))):
        service = serve()
        service.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
        dataset_id = upload(service, files)["id"]
        made.append((service, dataset_id, service.train(service.queued(dataset_id, "blocks"))))
    (service, dataset_id, component_id), (never, _, other) = made
    old = delta(service, component_id).content

    receipt = correct(service, dataset_id, image_id(service, dataset_id), "cat").json()["receipt"]

    assert receipt["body"]["components"] == [{"id": component_id, "outcome": "retraining"}]
    assert not occurrences(service, old[-512:])
    service.train(component_id)
    assert delta(service, component_id).content == delta(never, other).content


def test_what_was_measured_with_the_wrong_label_is_dropped_and_the_receipt_says_so(either):
    service = either
    dataset_id = upload(service, packed(FILES))["id"]
    service.train(service.queued(dataset_id))
    compose(service, "all", rule="joint")
    body = {"dataset_id": dataset_id, "composition": "all"}
    made = service.client.post("/v1/evaluations", json=body, headers=WAIT).json()
    assert made["status"] == "ready"

    receipt = correct(service, dataset_id, image_id(service, dataset_id), "cat").json()["receipt"]

    assert receipt["body"]["invalidated"]["evaluations"] == [made["id"]]
    shown = service.client.get(f"/v1/evaluations/{made['id']}").json()
    assert (shown["status"], shown["accuracy"]) == ("invalidated", None)
    assert shown["invalidated_by"] == receipt["id"]


def test_the_label_of_an_image_that_is_held_back_changes_no_component(serve):
    service = serve()
    files = {f"train/{label}/{n}.png": image(label, n) for label in ("cat", "dog") for n in (1, 2)}
    dataset_id = upload(service, archive(files | {"val/cat/9.png": image("dog", 9)}))["id"]
    component_id = service.train(service.queued(dataset_id))
    before = service.client.get(f"/v1/components/{component_id}").json()

    answer = correct(service, dataset_id, image_id(service, dataset_id, ("dog", 9)), "dog").json()

    (outcome,) = answer["receipt"]["body"]["components"]
    assert (outcome["id"], outcome["outcome"]) == (component_id, "unaffected")
    assert service.client.get(f"/v1/components/{component_id}").json() == before
    assert verify(service, answer["receipt"])["ok"]


def test_a_label_that_the_image_has_changes_nothing(serve):
    service = serve()
    dataset_id = upload(service, packed(FILES))["id"]
    found = image_id(service, dataset_id)

    for _ in range(2):
        answer = correct(service, dataset_id, found, " dog ")
        assert (answer.status_code, answer.json()["receipt"]) == (200, None)

    assert service.client.get("/v1/receipts").json()["data"] == []
    assert service.client.get(f"/v1/datasets/{dataset_id}").json()["labels"] == COUNTS


@pytest.mark.parametrize(
    ("label", "code"),
    [("", "bad_label"), ("a\nb", "bad_label"), ("c" * 300, "bad_label"), (7, "invalid_request")],
)
def test_what_is_no_label_is_refused(shared, label, code):
    dataset_id = upload(shared, packed(FILES))["id"]
    answer = correct(shared, dataset_id, image_id(shared, dataset_id), label)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_one_label_too_many_and_what_is_not_there_are_refused(serve):
    service = serve(max_labels=2)
    dataset_id = upload(service, packed(FILES))["id"]
    found = image_id(service, dataset_id)
    answer = correct(service, dataset_id, found, "emu")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_labels")
    assert correct(service, dataset_id, found, "cat").status_code == 200
    answer = correct(service, dataset_id, "img_none", "cat")
    assert (answer.status_code, answer.json()["code"]) == (404, "image_not_found")
    delete(service, f"datasets/{dataset_id}/images/{found}")
    answer = correct(service, dataset_id, found, "cat")
    assert (answer.status_code, answer.json()["code"]) == (410, "image_deleted")
