"""Whatever shows an accuracy says how many of its images are training images, and takes a split."""

from typing import Any

import pytest

from tangent_composer.schemas.training_overlap import NOT_COUNTED, overlap_fields
from tests.support.batches import begun, lines
from tests.support.client import WAIT, compose, until_ended
from tests.support.merging import derived
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.splits import files_of, uploaded
from tests.support.unlearning import delta

SCOPE = "head"
TRAIN, VAL = {"cat": 10, "dog": 9}, {"cat": 12, "dog": 8}
ARCHIVE = {"train": TRAIN, "val": VAL, "": {"dog": 2}}  # 21 images to train on


def trained(service: Service) -> tuple[str, str]:
    """Train from the archive; return the ids of dataset and component."""
    dataset_id = uploaded(service, _files())["id"]
    return dataset_id, service.train(service.queued(dataset_id))


def _files() -> dict[str, bytes]:
    """The archive's files with a manifest, as no folder may lie beside those of splits."""
    files = files_of(ARCHIVE)
    rows = [f"{path},{path.split('/')[-2]}" for path in files]
    return {"metadata.csv": "\n".join(["file_name,label", *rows]).encode()} | files


def evaluated(service: Service, dataset_id: str, query: str = "", **body: Any) -> dict[str, Any]:
    answer = service.client.post(
        f"/v1/evaluations{query}", json={"dataset_id": dataset_id} | body, headers=WAIT
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "ready", answer.json()
    return answer.json()


def test_an_evaluation_counts_its_training_images_and_takes_a_split(either):
    dataset_id, _ = trained(either)
    everything = evaluated(either, dataset_id)
    assert (everything["num_images"], everything["trained_on"]) == (41, 21)
    assert everything["note"].startswith("measured on training images: 21 of these 41 images")
    assert everything["split"] is None
    for split, images, known in [("train", 19, 19), ("none", 2, 2), ("val", 20, 0)]:
        shown = evaluated(either, dataset_id, split=split)
        assert (shown["split"], shown["num_images"], shown["trained_on"]) == (split, images, known)
        assert (shown["note"] is None) == (split == "val")
        assert shown["progress"] == {"done": images, "total": images}
    by_query = evaluated(either, dataset_id, "?split=val")
    again = either.client.get(f"/v1/evaluations/{by_query['id']}").json()
    assert again == by_query and again["split"] == "val" and again["labels"]["cat"]["images"] == 12
    answer = either.client.post("/v1/evaluations?split=test", json={"dataset_id": dataset_id})
    found = problem(answer, 422, "split_empty")
    assert "it has 19 in train, 20 in val, and 2 without a split" in found["detail"]


def test_equal_bytes_are_training_images_wherever_they_are_held(service):
    component_id = service.component({"cat": 6, "dog": 4})
    service.component({"owl": 5})
    other = service.dataset({"cat": 3, "dog": 6, "owl": 1})
    assert evaluated(service, other)["trained_on"] == 3 + 4 + 1
    assert evaluated(service, other, components=[{"id": component_id}])["trained_on"] == 3 + 4
    assert evaluated(service, service.dataset({"cat": 3}, start=50))["trained_on"] == 0


def test_what_a_component_was_derived_from_counts(service):
    parents = [service.component({"cat": 6}), service.component({"dog": 5})]
    child = derived(service, "ties", *parents)
    found = evaluated(
        service, service.dataset({"cat": 9, "dog": 9}), rule="average", components=[{"id": child}]
    )
    assert found["trained_on"] == 6 + 5


def test_of_an_imported_component_nobody_can_tell(service, serve):
    component_id = service.component({"cat": 4, "dog": 4})
    other = serve()
    file = {"file": ("north.safetensors", delta(service, component_id).content)}
    imported = other.client.post("/v1/components/import", files=file).json()["id"]
    found = evaluated(other, other.dataset({"cat": 3, "dog": 3}))
    assert found["trained_on"] is None
    assert found["trained_on_unknown"].startswith(f"{imported} was imported")
    assert found["note"].startswith("some of these may be training images")


def test_a_result_of_before_there_was_a_count_says_so():
    assert overlap_fields({"num_images": 3, "accuracy": 1.0}, 3) == {
        "trained_on": None,
        "trained_on_unknown": NOT_COUNTED,
        "note": f"some of these may be training images: {NOT_COUNTED}",
    }
    assert overlap_fields(None, None) == {}


def solved(service: Service, name: str, **body: Any) -> dict[str, Any]:
    answer = service.client.post(f"/v1/compositions/{name}/solve", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["solved"]


def test_weights_are_fitted_to_training_images_unless_a_split_is_named(either):
    dataset_id, component_id = trained(either)
    other = either.component({"cat": 4, "dog": 4}, start=90)
    compose(either, "both", [component_id, other])
    found = solved(either, "both", dataset_id=dataset_id)
    assert found["split"] is None and found["num_images"] + found["num_holdout"] == 21
    assert (
        found["trained_on"] == 21 and "measured on training images: 21 of these 21" in found["note"]
    )
    assert found["members_trained_on_dataset"] == [component_id]
    compose(either, "both", [component_id, other])
    found = solved(either, "both", dataset_id=dataset_id, split="val")
    assert found["split"] == "val" and found["num_images"] + found["num_holdout"] == 20
    assert (found["trained_on"], found["note"], found["members_trained_on_dataset"]) == (
        0,
        None,
        [],
    )


def test_a_preview_counts_them_and_takes_a_split(service):
    dataset_id, component_id = trained(service)
    path = f"/v1/components/{component_id}/deletion-preview?dataset_id={dataset_id}"
    found = service.client.get(path).json()["answers"]
    assert (found["num_images"], found["trained_on"], found["split"]) == (41, 21, None)
    assert found["note"].startswith("measured on training images")
    found = service.client.get(f"{path}&split=val").json()["answers"]
    assert (found["num_images"], found["trained_on"], found["split"]) == (20, 0, "val")


@pytest.mark.parametrize(("split", "count"), [("val", 20), ("none", 2)])
def test_a_batch_prediction_takes_a_split(service, split, count):
    dataset_id, _ = trained(service)
    path = begun(service, dataset_id=dataset_id, split=split)
    shown = until_ended(service, path)
    assert (shown["split"], shown["progress"]["total"]) == (split, count)
    kind = "val/" if split == "val" else "dog/"
    found = lines(service, path)
    assert len(found) == count and all(line["path"].startswith(kind) for line in found)
