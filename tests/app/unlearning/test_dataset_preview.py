"""A preview of a dataset's deletion, or an image's, predicts its effects and changes nothing."""

from typing import Any

import pytest

from app.database.sessions import transaction
from app.database.tables import Evaluation
from tests.support.archives import archive
from tests.support.client import WAIT, compose, delete, upload
from tests.support.images import image
from tests.support.keys import by
from tests.support.merging import derived
from tests.support.problems import problem
from tests.support.service import Service

PETS, STOCK = {"cat": 3, "dog": 3, "yak": 2}, {"cow": 3, "cat": 3}


def preview(service: Service, path: str) -> dict[str, Any]:
    answer = service.client.get(f"/v1/datasets/{path}/deletion-preview")
    assert answer.status_code == 200, answer.text
    return answer.json()


def state(service: Service) -> list[Any]:
    """Return all that a deletion could change."""
    paths = ("components", "compositions", "evaluations", "receipts", "spaces", "datasets")
    return [service.client.get(f"/v1/{path}").json() for path in paths]


def images(service: Service, dataset: str, label: str) -> list[str]:
    listed = service.client.get(f"/v1/datasets/{dataset}/images", params={"label": label}).json()
    return [each["id"] for each in listed["data"]]


def evaluate(service: Service, dataset: str, *components: str) -> str:
    body = {"dataset_id": dataset, "components": [{"id": each} for each in components]}
    made_ = service.client.post("/v1/evaluations", json=body, headers=WAIT)
    assert made_.status_code == 201, made_.text
    return made_.json()["id"]


def with_results(service: Service) -> tuple[str, str, str, str]:
    """Make two datasets with a component each, and what is made with them; return their ids."""
    pets, stock = service.dataset(PETS), service.dataset(STOCK, start=50)
    first, other = (service.train(service.queued(each)) for each in (pets, stock))
    compose(service, "everyone", "all", status=201)
    compose(service, "both", [first, other], status=201)
    compose(service, "rest", [other], status=201)
    labelled = service.dataset({"cat": 10, "cow": 10}, start=90)
    compose(service, "fitted", [first, other], status=201)
    solved = service.client.post("/v1/compositions/fitted/solve", json={"dataset_id": labelled})
    assert solved.status_code == 200, solved.text
    evaluate(service, pets, other)
    evaluate(service, stock, first)
    evaluate(service, stock, other)
    return pets, stock, first, other


def test_a_datasets_deletion_takes_along_what_its_preview_named(either):
    service = either
    pets, _, first, other = with_results(service)
    child = derived(service, "task_arithmetic", first, other)
    twin = service.dataset({"cat": 2})  # two of the same images
    held = state(service)
    found = preview(service, pets)
    assert state(service) == held
    assert (found["dataset_id"], found["image_id"], found["num_images"]) == (pets, None, 8)
    assert found["components"] == [
        {"id": each, "outcome": "removed"} for each in sorted([first, child])
    ]
    assert found["labels_gone"] == [{"space": "default", "labels": ["dog", "yak"]}]
    assert found["also_held"] == [{"dataset_id": twin, "images": 2}]
    assert [each["name"] for each in found["compositions"]] == ["both", "everyone", "fitted"]
    left = {each["name"]: each["components_left"] for each in found["compositions"]}
    assert left == {"both": 1, "everyone": 1, "fitted": 1}
    body = delete(service, f"datasets/{pets}", cascade="true")["body"]
    gone = {each["id"] for each in body["subjects"] if each["kind"] == "component"}
    assert {each["id"] for each in found["components"]} == gone
    changed = {each["name"] for each in body["invalidated"]["compositions"]}
    assert {each["name"] for each in found["compositions"] if each["named"]} == changed
    lost = {each["name"] for each in found["compositions"] if each["solved_weights_lost"]}
    assert lost == set(body["invalidated"]["solved_weights"]) == {"fitted"}
    assert found["evaluations"] == len(body["invalidated"]["evaluations"]) == 2
    (labels,) = body["labels"]
    assert labels["count"] == 2


def test_an_images_deletion_has_the_outcomes_that_its_preview_named(either):
    service = either
    pets, _, first, other = with_results(service)
    iterative = service.train(
        service.queued(pets, hyperparameters={"solver": "adam", "epochs": 1, "l2": 0.01})
    )
    waiting = service.queued(pets)
    child = derived(service, "task_arithmetic", first, other)
    (image, _) = images(service, pets, "yak")
    held = state(service)
    found = preview(service, f"{pets}/images/{image}")
    assert state(service) == held
    outcomes = {each["id"]: each["outcome"] for each in found["components"]}
    assert outcomes == {
        first: "down_dated",
        iterative: "retraining",
        waiting: "queued",
        child: "removed",
    }
    assert (found["image_id"], found["num_images"]) == (image, 1)
    assert found["labels_gone"] == [] and found["also_held"] == []
    body = delete(service, f"datasets/{pets}/images/{image}")["body"]
    done = {each["id"]: each["outcome"] for each in body["components"]}
    assert done == {id_: what for id_, what in outcomes.items() if what != "removed"}
    assert {each["id"] for each in body["subjects"] if each["kind"] == "component"} == {child}
    invalidated = body["invalidated"]
    assert found["evaluations"] == len(invalidated["evaluations"]) == 2
    changed = {each["name"] for each in invalidated["compositions"]}
    assert {each["name"] for each in found["compositions"]} == changed == {"fitted"}


def test_the_last_image_of_a_label_takes_the_label_along(service):
    pets = service.dataset({"cat": 3, "yak": 1})
    service.train(service.queued(pets))
    (image,) = images(service, pets, "yak")
    gone = preview(service, f"{pets}/images/{image}")["labels_gone"]
    assert gone == [{"space": "default", "labels": ["yak"]}]
    service.component({"yak": 2, "cow": 2}, start=30)
    assert preview(service, f"{pets}/images/{image}")["labels_gone"] == []


def test_a_label_whose_training_images_are_gone_is_lost_though_one_is_held_back(service):
    files = {f"train/cat/{n}.png": image("cat", n) for n in range(3)}
    files |= {"train/dog/0.png": image("dog", 0), "test/dog/1.png": image("dog", 1)}
    pets = upload(service, archive(files))["id"]
    service.train(service.queued(pets))
    (gone,) = (
        each["id"]
        for each in service.client.get(f"/v1/datasets/{pets}/images").json()["data"]
        if each["path"] == "train/dog/0.png"
    )
    lost = preview(service, f"{pets}/images/{gone}")["labels_gone"]
    assert lost == [{"space": "default", "labels": ["dog"]}]

    body = delete(service, f"datasets/{pets}/images/{gone}")["body"]

    assert [each["count"] for each in body["labels"]] == [1]
    assert service.client.get("/v1/spaces/default").json()["labels"] == ["cat"]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_results_that_ended_early_are_counted_as_the_receipt_lists_them(service, status):
    pets = service.dataset({"cat": 3, "dog": 3})
    component = service.train(service.queued(pets))
    evaluation = evaluate(service, pets, component)
    with transaction(service.state.sessions) as session:
        session.get_one(Evaluation, evaluation).status = status
    evaluate(service, pets, component)
    gone = images(service, pets, "cat")[0]
    found = [
        preview(service, f"{pets}/images/{gone}"),
        service.client.get(f"/v1/components/{component}/deletion-preview").json(),
    ]

    body = delete(service, f"datasets/{pets}/images/{gone}")["body"]

    listed = len(body["invalidated"]["evaluations"])
    assert [each["evaluations"] for each in found] == [listed, listed] == [2, 2]


def test_other_datasets_with_the_image_are_named(service):
    pets, twin = service.dataset({"cat": 2}), service.dataset({"cat": 1})
    image = images(service, pets, "cat")[0]
    found = preview(service, f"{pets}/images/{image}")
    assert found["also_held"] == [{"dataset_id": twin, "images": 1}]
    assert found["components"] == []


@pytest.mark.parametrize("what", ["dataset", "image"])
def test_what_is_not_there_has_no_preview(service, what):
    pets = service.dataset({"cat": 2})
    image = images(service, pets, "cat")[0]
    path = pets if what == "dataset" else f"{pets}/images/{image}"
    none = "none" if what == "dataset" else f"{pets}/images/none"
    refused = service.client.get(f"/v1/datasets/{none}/deletion-preview")
    problem(refused, 404, f"{what}_not_found")
    delete(service, f"datasets/{path}")
    problem(service.client.get(f"/v1/datasets/{path}/deletion-preview"), 410, f"{what}_deleted")


def test_what_the_deletion_would_refuse_has_no_preview(service):
    single = service.dataset({"cat": 1})
    (image,) = images(service, single, "cat")
    path = f"/v1/datasets/{single}/images/{image}"
    problem(service.client.get(f"{path}/deletion-preview"), 409, "dataset_would_be_empty")
    problem(service.client.delete(path), 409, "dataset_would_be_empty")


def test_compositions_of_spaces_that_the_caller_does_not_see_are_not_named(serve):
    service = serve(api_key="9f86d081884c7d659a2feaa0c55ad015")
    pets = service.dataset(PETS)
    with by(service, "train", "read") as owner:
        body = {"name": "hidden", "backbone": "resnet_micro_32", "scope": "head"}
        assert owner.post("/v1/spaces", json=body).status_code == 201
        queued = {"dataset_id": pets, "space": "hidden"}
        component = owner.post("/v1/components", json=queued).json()["id"]
        service.train(component)
        named = {"space": "hidden", "rule": "average", "components": [{"id": component}]}
        assert owner.put("/v1/compositions/secret", json=named).status_code == 201
        assert _names(owner.get(f"/v1/datasets/{pets}/deletion-preview")) == ["secret"]
    with by(service, "read") as stranger:
        found = stranger.get(f"/v1/datasets/{pets}/deletion-preview")
        assert _names(found) == [] and found.json()["labels_gone"] == []
        # What would go is told all the same, as a deletion takes it along in any space.
        assert [each["id"] for each in found.json()["components"]] == [component]


def _names(answer: Any) -> list[str]:
    return [each["name"] for each in answer.json()["compositions"]]
