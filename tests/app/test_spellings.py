"""A label in two spellings of Unicode is one label, wherever it is written or asked for."""

from typing import Any

import httpx
import pytest

from tests.support.archives import archive, noise_at
from tests.support.client import upload
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

APART, WHOLE = "cafe\u0301", "café"  # as a Mac's file system writes it, and as keyboards do
PERSIAN = "می\u200cخواهم"


def table(*labels: str) -> dict[str, bytes]:
    """An archive's files: a manifest with these labels, and an image for each."""
    images = noise_at(*(f"{number}.png" for number in range(len(labels))))
    rows = "".join(f"{path},{label}\n" for path, label in zip(images, labels, strict=True))
    return images | {"metadata.csv": f"file_name,label\n{rows}".encode()}


def space(service: Service, name: str, labels: list[str]) -> httpx.Response:
    body = {"name": name, "backbone": "resnet_micro_32", "scope": "head", "labels": labels}
    return service.client.post("/v1/spaces", json=body)


@pytest.fixture(scope="module")
def component(shared: Service) -> dict[str, Any]:
    """A component that knows the label in question and another one."""
    files = {f"{APART}/{n}.png": image("cat", n) for n in range(3)}
    files |= {f"{PERSIAN}/{n}.png": image("dog", n) for n in range(3)}
    dataset_id = upload(shared, archive(files))["id"]
    return {"id": shared.train(shared.queued(dataset_id)), "dataset_id": dataset_id}


def test_a_manifest_s_labels_are_composed(shared):
    assert upload(shared, archive(table(APART, WHOLE)))["labels"] == {WHOLE: 2}


def test_images_are_found_by_either_spelling(shared, component):
    for text in (APART, WHOLE, f" {WHOLE} "):
        url = f"/v1/datasets/{component['dataset_id']}/images"
        found = shared.client.get(url, params={"label": text}).json()["data"]
        assert {each["label"] for each in found} == {WHOLE} and len(found) == 3


def test_a_prediction_ranks_a_label_of_either_spelling(shared, component):
    for form in ({"labels": APART}, {"labels": f'["{APART}", "{WHOLE}"]'}, {"labels": PERSIAN}):
        answer = shared.client.post(
            "/v1/predictions",
            data=form | {"components": component["id"]},
            files={"images": image("cat", 7)},
        )
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["results"][0]["predictions"]) == 1


def test_a_space_s_declared_labels_are_composed_and_named_once(shared):
    assert space(shared, "composed", [APART, PERSIAN]).json()["declared_labels"] == sorted(
        [WHOLE, PERSIAN]
    )
    twice = problem(space(shared, "twice", [APART, WHOLE]), 422, "invalid_request")
    assert "named twice: café" in twice["detail"]


@pytest.mark.parametrize("label", ["a\u202eb", "\u200c", "a\x07b"])
def test_a_space_and_a_renaming_refuse_the_labels_that_an_archive_rejects(shared, label):
    told = problem(space(shared, "hiding", [label]), 422, "invalid_request")["detail"]
    assert "/labels/0: " in told and "the label has" in told
    files = archive(table(label, "cat"))
    (rejected,) = upload(shared, files)["rejected"]
    assert rejected["path"] == "0.png" and "line 2, has" in rejected["reason"]
    dataset_id = upload(shared, archive(table("cat", "dog")))["id"]
    body = {"rename": {"cat": label}}
    answer = shared.client.post(f"/v1/datasets/{dataset_id}/labels", json=body)
    assert "has" in problem(answer, 422, "bad_label")["detail"]


def test_labels_are_renamed_in_either_spelling(shared):
    dataset_id = upload(shared, archive(table(WHOLE, "cat", "dog")))["id"]
    url = f"/v1/datasets/{dataset_id}/labels"
    answer = shared.client.post(url, json={"rename": {APART: "bar", "cat": "the\u0301"}})
    assert answer.json()["labels"] == {"bar": 1, "dog": 1, "thé": 1}
    twice = {"rename": {"the\u0301": "a", "thé": "b"}}
    told = problem(shared.client.post(url, json=twice), 422, "bad_label")["detail"]
    assert "named twice" in told


def test_names_are_composed_too(shared, component):
    assert upload(shared, archive(table("cat")), data={"name": APART})["name"] == WHOLE
    file = {"file": (f"{APART}.zip", archive(table("cat")))}
    assert shared.client.post("/v1/datasets", files=file).json()["name"] == WHOLE
    body = {"dataset_id": component["dataset_id"], "name": APART}
    assert shared.client.post("/v1/components", json=body).json()["name"] == WHOLE
