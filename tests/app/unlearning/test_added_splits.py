"""Splits and warnings of images that were added: those of one upload, whatever came first."""

import io
from typing import Any

import PIL.Image
import pytest

from tests.support.archives import archive
from tests.support.client import WAIT, delete, upload
from tests.support.images import image
from tests.support.service import Service
from tests.support.unlearning import delta

Files = dict[str, bytes]
TABLE = "file_name,label\n"
LISTED = {
    "train/1.png": image("cat", 1),
    "train/2.png": image("dog", 2),
    "train/metadata.csv": f"{TABLE}1.png,a\n2.png,b\n".encode(),
}
HELD_BACK = {
    "val/3.png": image("cat", 3),
    "val/4.png": image("dog", 4),
    "val/metadata.csv": f"{TABLE}3.png,a\n4.png,b\n".encode(),
}
PREFIXED = {"seg_train/a/1.png": image("cat", 1), "seg_train/b/2.png": image("dog", 2)}
PREFIXED_VAL = {"seg_val/a/3.png": image("cat", 3), "seg_val/b/4.png": image("dog", 4)}
FOLDERS = {"train/a/1.png": image("cat", 1), "train/b/2.png": image("dog", 2)}
FOLDERS_VAL = {"val/a/3.png": image("cat", 3), "val/b/4.png": image("dog", 4)}
LEAKED = {"test/a/1-again.png": image("cat", 1), "test/b/5.png": image("dog", 5)}
ALIKE = {"A/6.png": image("cat", 6)}
PLAIN = {"a/1.png": image("cat", 1), "b/2.png": image("dog", 2)}


def add(service: Service, dataset_id: str, files: Files) -> Any:
    sent = {"file": ("more.zip", archive(files))}
    answer = service.client.post(f"/v1/datasets/{dataset_id}/images", files=sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


def summary(service: Service, dataset_id: str) -> dict[str, Any]:
    shown = service.client.get(f"/v1/datasets/{dataset_id}").json()
    return {name: shown[name] for name in ("splits", "labels", "num_images")} | {
        "warnings": sorted(shown["warnings"])
    }


@pytest.mark.parametrize(
    "parts",
    [
        (LISTED, HELD_BACK),
        (PREFIXED, PREFIXED_VAL),
        (FOLDERS, FOLDERS_VAL),
        (FOLDERS_VAL, FOLDERS),
        (FOLDERS, LEAKED),
        (PLAIN, ALIKE),
    ],
    ids=[
        *("listed", "prefixed"),
        *("folders", "folders, val first", "leaked", "alike"),
    ],
)
def test_splits_and_warnings_are_those_of_one_upload(serve, parts):
    first, second = parts
    service, never = serve(), serve()
    whole = upload(never, archive(first | second))["id"]
    dataset_id = upload(service, archive(first))["id"]
    trained = summary(service, dataset_id)["splits"].get("val") != 2
    component_id = service.train(service.queued(dataset_id)) if trained else None

    added = add(service, dataset_id, second)

    found, expected = summary(service, dataset_id), summary(never, whole)
    if "seg_train/a/1.png" in first:  # which is no split alone, and trained on all the same
        found["splits"]["train"] = 2
    assert found == expected
    assert sorted(added["archive"]["warnings"]) == expected["warnings"]
    component_id = component_id or service.train(service.queued(dataset_id))
    other = never.train(never.queued(whole))
    assert delta(service, component_id).content == delta(never, other).content


@pytest.mark.parametrize(
    ("first", "second", "folder"),
    [(HELD_BACK, LISTED, "val"), (PREFIXED_VAL, PREFIXED, "seg_val")],
    ids=["listed", "prefixed"],
)
def test_what_a_folder_meant_when_its_images_came_stays_and_is_told(serve, first, second, folder):
    """Components were trained by it, and a deletion of what came later takes nothing back."""
    service = serve()
    dataset_id = upload(service, archive(first))["id"]
    component_id = service.train(service.queued(dataset_id))
    before = delta(service, component_id).content

    added = add(service, dataset_id, second)

    (told,) = added["archive"]["warnings"]
    assert f"images in the folders '{folder}' are trained on" in told
    assert summary(service, dataset_id)["labels"] == {"a": 2, "b": 2}
    assert service.client.get(f"/v1/components/{component_id}").json()["images"] == {
        "a": 2,
        "b": 2,
    }
    for path in ("1.png", "2.png"):
        listed = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
        (gone,) = (each["id"] for each in listed if each["path"].endswith(path))
        delete(service, f"datasets/{dataset_id}/images/{gone}")
    assert delta(service, component_id).content == before


def test_folders_are_read_beside_what_the_held_ones_were_told(serve):
    """An image of train/ that a copy in test/ holds back says all the same what val/ is."""
    service = serve()
    table = f"{TABLE}train/1.png,a\ntest/2.png,b\n".encode()
    held = {"train/1.png": image("cat", 1), "test/2.png": image("cat", 1), "metadata.csv": table}
    dataset_id = upload(service, archive(held))["id"]
    more = f"{TABLE}val/3.png,a\n".encode()

    add(service, dataset_id, {"val/3.png": image("cat", 3), "metadata.csv": more})

    assert summary(service, dataset_id)["splits"] == {"test": 2, "val": 1}


def test_labels_of_other_origin_are_no_layout(serve):
    """Of images whose labels were renamed, folders that have the old names tell no split."""
    service = serve()
    named = {"cat/1.png": image("cat", 1), "test/2.png": image("dog", 2)}
    dataset_id = upload(service, archive(named))["id"]
    renamed = {"rename": {"test": "exam"}}
    service.client.post(f"/v1/datasets/{dataset_id}/labels", json=renamed).raise_for_status()
    table = f"{TABLE}train/9.png,cat\n".encode()

    add(service, dataset_id, {"train/9.png": image("cat", 9), "metadata.csv": table})

    shown = summary(service, dataset_id)
    assert (shown["splits"], shown["labels"]) == ({"train": 1}, {"cat": 2, "exam": 1})


def test_a_folder_within_a_label_is_no_split_beside_others(serve):
    service, never = serve(), serve()
    held = {
        "cat/cam_train/1.png": image("cat", 1),
        "dog/cam_test/2.png": image("dog", 2),
    }
    more = {"cat/5.png": image("cat", 5)}
    dataset_id = upload(service, archive(held))["id"]
    add(service, dataset_id, more)
    whole = upload(never, archive(held | more))["id"]
    assert summary(service, dataset_id) == summary(never, whole)


def test_a_result_is_invalidated_once(serve):
    """The second receipt is about data that the result never had: it was invalid by then."""
    service = serve()
    dataset_id = upload(service, archive(PLAIN))["id"]
    service.train(service.queued(dataset_id))
    made = service.client.post("/v1/evaluations", json={"dataset_id": dataset_id}, headers=WAIT)
    first = add(service, dataset_id, {"a/9.png": image("cat", 9)})["receipt"]
    new = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"][-1]["id"]

    second = delete(service, f"datasets/{dataset_id}/images/{new}")

    lost = [each["body"]["invalidated"]["evaluations"] for each in (first, second)]
    assert lost == [[made.json()["id"]], []]
    shown = service.client.get(f"/v1/evaluations/{made.json()['id']}").json()
    assert (shown["status"], shown["invalidated_by"]) == ("invalidated", first["id"])


def test_a_picture_of_the_training_that_is_added_to_test_is_told_of_after_a_removal_too(serve):
    service = serve()
    dataset_id = upload(service, archive(FOLDERS))["id"]
    removed = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"][1]["id"]
    service.client.delete(f"/v1/datasets/{dataset_id}/images/{removed}").raise_for_status()
    again = io.BytesIO()
    PIL.Image.open(io.BytesIO(image("cat", 1))).save(again, "BMP")

    told = add(service, dataset_id, {"test/a/1.bmp": again.getvalue()})["archive"]["warnings"]

    assert "images of val and test that look like training images: 1" in " ".join(told)
