"""Datasets that get a privacy budget while components, trainings and evaluations use them."""

import pytest

from app.database.sessions import transaction
from app.datasets import datasets
from app.errors import Conflict
from app.store import components, retraining
from tests.support.archives import archive
from tests.support.client import upload
from tests.support.images import image
from tests.support.merging import ask, made, queued, show
from tests.support.privacy import budget
from tests.support.problems import problem
from tests.support.refinements import PENALTY, stocked
from tests.support.refinements import ask as joint
from training_worker.training import Training

SCOPE = "head"
COUNTS = {"cat": 4, "dog": 4}
FISHER = {"loss": "cross_entropy", "solver": "adam", "epochs": 1, "l2": 0.1}


def plain(service, **body) -> tuple[str, str]:
    """Upload a dataset and train from it without noise; return both ids."""
    dataset_id = service.dataset(COUNTS)
    return dataset_id, service.train(service.queued(dataset_id, **body))


def sent(service, dataset_id: str, files: dict[str, bytes]):
    packed = {"file": ("more.zip", archive(files))}
    return service.client.post(f"/v1/datasets/{dataset_id}/images", files=packed)


def spoil(service, component_id: str, code: str) -> None:
    with transaction(service.state.sessions) as session:
        assert components.move(session, component_id, "spoil", error={"code": code, "detail": ""})


def test_what_waits_or_runs_as_the_budget_comes_fails_and_what_was_made_stays(either):
    dataset_id, ready = plain(either)
    waiting = either.queued(dataset_id)
    body = {"dataset_id": dataset_id, "components": [{"id": ready}]}
    passes = [
        f"/v1/{kind}/{either.client.post(f'/v1/{kind}', json=body).json()['id']}"
        for kind in ("evaluations", "batch-predictions")
    ]
    budget(either, dataset_id)
    for path in (f"/v1/components/{waiting}", *passes):
        row = either.client.get(path).json()
        if row["status"] != "ready":  # a runner may have been as quick
            assert (row["status"], row["error"]["code"]) == ("failed", "privacy_required"), path
    assert show(either, waiting)["status"] == "failed"
    assert show(either, ready)["status"] == "ready"


def test_a_larger_budget_ends_no_private_training(service):
    dataset_id = service.dataset(COUNTS)
    for epsilon in (1.0, 2.0):
        budget(service, dataset_id, epsilon=epsilon)
        private = service.queued(dataset_id, privacy={"epsilon": 0.5, "delta": 1e-5})
        assert show(service, private)["status"] == "queued"
    assert {each["status"] for each in service.client.get("/v1/components").json()["data"]} == {
        "queued"
    }


def test_a_worker_reads_no_images_for_a_training_without_noise(service, tmp_path):
    dataset_id = service.dataset(COUNTS)
    component_id = service.queued(dataset_id)
    with transaction(service.state.sessions) as session:  # as if both had come at one moment
        datasets.get(session, dataset_id).privacy_budget = {"epsilon": 1.0, "delta": 1e-5}
        components.start(session, component_id, executor_id="test")
    training = Training(service.settings)
    with pytest.raises(Conflict, match=f"dataset {dataset_id} has a privacy budget"):
        training.run(component_id, tmp_path, lambda _: None)


def test_news_of_training_images_are_refused_and_deletions_stay_exact(serve):
    service, never = serve(), serve()
    files = {f"{label}/{i}.png": image(label, i) for label in ("cat", "dog") for i in range(4)}
    dataset_id = upload(service, archive(files))["id"]
    component_id = service.train(service.queued(dataset_id))
    budget(service, dataset_id)
    images = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    first = next(each for each in images if each["path"] == "cat/0.png")
    path = f"/v1/datasets/{dataset_id}/images/{first['id']}"
    added = sent(service, dataset_id, {"cat/9.png": image("cat", 9)})
    assert problem(added, 409, "privacy_required")["components"] == [component_id]
    problem(service.client.patch(path, json={"label": "dog"}), 409, "privacy_required")
    assert sent(service, dataset_id, {"val/cat/9.png": image("cat", 9)}).status_code == 200

    assert service.client.delete(path).status_code == 200
    del files["cat/0.png"]
    other = never.train(never.queued(upload(never, archive(files))["id"]))
    assert show(service, component_id)["sha256"] == show(never, other)["sha256"]

    assert service.client.delete(f"/v1/components/{component_id}").status_code == 200
    assert sent(service, dataset_id, {"cat/8.png": image("cat", 8)}).status_code == 200


def test_no_operator_measures_its_images_again(service):
    dataset_id, first = plain(service, hyperparameters=FISHER)
    second = service.train(service.queued(dataset_id, hyperparameters=FISHER | {"lr": 0.02}))
    waiting, other = (queued(service, name, first, second) for name in ("fisher", "ties"))
    budget(service, dataset_id)
    assert show(service, waiting)["error"]["code"] == "privacy_required"
    problem(ask(service, "fisher", first, second), 409, "privacy_required")
    made(service, other)  # of files alone
    assert show(service, other)["status"] == "ready"


def test_no_component_is_trained_again(service):
    dataset_id, component_id = plain(service)
    budget(service, dataset_id)
    spoil(service, component_id, "component_damaged")
    again = service.client.post(f"/v1/components/{component_id}/retrain")
    assert "train a private component" in problem(again, 409, "privacy_required")["detail"]


def test_a_space_that_opens_differently_leaves_its_components_without_noise_behind(service):
    dataset_id, component_id = plain(service)
    open_ = service.component(COUNTS, start=20)
    budget(service, dataset_id)
    with transaction(service.state.sessions) as session:
        state, facts = service.state, {"fingerprint": "0" * 64}
        done = retraining.retrain_space(session, state.jobs, state.blobs, "default", facts)
    assert (done.queued, done.failed) == ([open_], [component_id])
    assert "train a private one" in show(service, component_id)["error"]["detail"]


def test_no_answer_is_judged_by_its_images(service):
    dataset_id, component_id = plain(service)
    open_ = service.component(COUNTS, start=20)
    budget(service, dataset_id)
    query = {"components": f"{component_id},{open_}", "return": "novelty"}
    png = {"Content-Type": "image/png"}
    content = image("cat", 3)
    answer = service.client.post("/v1/predictions", params=query, content=content, headers=png)
    assert answer.json()["calibration"]["images"] == 8


def test_joint_answers_are_not_refined_from_its_images(service):
    stocked(service, COUNTS, {"cow": 4, "dog": 3})
    dataset_id = show(service, service.made[0])["dataset_id"]
    waiting = joint(service)["refinement"]["id"]
    budget(service, dataset_id)
    assert show(service, waiting)["error"]["code"] == "privacy_required"
    third = service.queued(service.dataset({"emu": 3, "dog": 3}), "blocks", hyperparameters=PENALTY)
    service.train(third)
    answer = joint(service)
    assert (answer["joint"], answer["refinement"]) == ("one_shot", None)
