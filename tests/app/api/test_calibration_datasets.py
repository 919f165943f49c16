"""A temperature by a named dataset: at every scope, by unseen images, and gone with the dataset."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from app.inference.engine.named_temperatures import NamedTemperatures
from tests.support.archives import archive as zip_of
from tests.support.client import delete
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

SCOPES = ["head2toe", "last-block"]
COUNTS = {"cat": 5, "dog": 5}
UNSEEN = {"cat": 8, "dog": 8}
PNG = {"Content-Type": "image/png"}


def ask(service: Service, dataset_id: str | None, **query):
    named = {} if dataset_id is None else {"calibration_dataset": dataset_id}
    picture = image("cat", 900)
    return service.client.post(
        "/v1/predictions", content=picture, headers=PNG, params=named | query
    )


def asked(service: Service, dataset_id: str | None, **query):
    answer = ask(service, dataset_id, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers(answer) -> str:
    """The text of an answer, without ids and times."""
    calibration = answer["calibration"] | {"dataset_id": None}
    return json.dumps([answer["results"], calibration], sort_keys=True)


@pytest.mark.parametrize("scope", SCOPES)
def test_the_temperature_is_the_most_likely_one_of_the_images(serve, scope):
    service = serve(scope=scope)
    service.component(COUNTS)
    named = service.dataset(UNSEEN, 100)

    found = asked(service, named, deterministic=True)

    files = [("cat", n) for n in range(100, 108)] + [("dog", n) for n in range(100, 108)]
    images = [("images", (f"{i}.png", image(*each))) for i, each in enumerate(files)]
    answer = service.client.post(
        "/v1/predictions", files=images, data={"return": "logits", "deterministic": "true"}
    ).json()
    logits = np.array(
        [
            [p["logit"] for p in sorted(r["predictions"], key=lambda p: p["label"])]
            for r in answer["results"]
        ]
    )
    truth, doubt = np.array([0] * 8 + [1] * 8), 1 / 18

    def loss(log_t: float) -> float:
        logs = log_softmax(logits / np.exp(log_t), axis=1)
        return float(-((1 - doubt) * logs[np.arange(16), truth] + doubt * logs.mean(1)).mean())

    best = np.exp(minimize_scalar(loss, bounds=(-8, 8), options={"xatol": 1e-10}).x)
    calibration = found["calibration"]
    assert calibration["temperature"] == pytest.approx(best, rel=1e-3)
    assert (calibration["dataset_id"], calibration["dataset_images"]) == (named, 16)
    assert calibration["no_temperature"] is None
    first, second = found["results"][0]["predictions"]
    ratio = (first["logit"] - second["logit"]) / calibration["temperature"]
    assert first["probability"] == pytest.approx(1 / (1 + np.exp(-ratio)), rel=1e-6)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_world_that_deleted_answers_as_one_that_never_had_it(serve, scope):
    worlds = [serve(scope=scope), serve(scope=scope)]
    found = []
    for number, service in enumerate(worlds):
        extra = service.component(COUNTS, 50) if number == 0 else None
        service.component(COUNTS)
        named = service.dataset(UNSEEN, 100)
        if extra is not None:
            asked(service, named, deterministic=True)  # with what is deleted, and kept in memory
            source = service.client.get(f"/v1/components/{extra}").json()["dataset_id"]
            delete(service, f"datasets/{source}?cascade=true")
        found.append(numbers(asked(service, named, deterministic=True)))
    assert found[0] == found[1]


def test_the_deleted_dataset_is_gone_from_answers_and_memory(serve):
    service = serve(scope="last-block")
    service.component(COUNTS)
    before = numbers(asked(service, None, deterministic=True))
    named = service.dataset(UNSEEN, 100)
    asked(service, named)
    kept = service.state.engine._named._kept
    assert len(kept) == 1

    delete(service, f"datasets/{named}")

    assert not kept
    problem(ask(service, named), 410, "dataset_deleted")
    assert numbers(asked(service, None, deterministic=True)) == before
    problem(ask(service, "ds_none"), 404, "dataset_not_found")


def test_images_that_a_component_was_trained_on_do_not_count(serve):
    service = serve()
    component = service.component(COUNTS)
    source = service.client.get(f"/v1/components/{component}").json()["dataset_id"]

    refused = problem(ask(service, source), 422, "no_calibration_images")

    assert "that its components were not trained on" in refused["detail"]
    mixed = service.dataset({"cat": 7, "dog": 7})  # five of each are the component's own
    assert asked(service, mixed)["calibration"]["dataset_images"] == 4
    strangers = service.dataset({"owl": 3}, 200)
    problem(ask(service, strangers), 422, "no_calibration_images")


def test_the_val_images_of_the_components_own_archive_serve(serve):
    service = serve()
    files = {
        f"{part}/{label}/{n}.png": image(label, n + start)
        for part, start in (("train", 0), ("val", 60))
        for label in ("cat", "dog")
        for n in range(4)
    }
    answer = service.client.post(
        "/v1/datasets", files={"file": ("a.zip", zip_of(files), "application/zip")}
    )
    dataset_id = answer.json()["id"]
    service.train(service.queued(dataset_id))

    assert asked(service, dataset_id)["calibration"]["dataset_images"] == 8


def test_a_removed_image_changes_the_temperature_as_if_it_had_never_been_there(serve):
    worlds = [serve(), serve()]
    found = []
    for number, service in enumerate(worlds):
        service.component(COUNTS)
        named = service.dataset({"cat": 8, "dog": 8 if number == 0 else 7}, 100)
        if number == 0:
            asked(service, named)
            listed = service.client.get(f"/v1/datasets/{named}/images?label=dog&limit=100").json()
            (gone,) = (each["id"] for each in listed["data"] if "7" in each["path"][-8:])
            delete(service, f"datasets/{named}/images/{gone}")
        found.append(numbers(asked(service, named, deterministic=True)))
    assert found[0] == found[1]


@pytest.mark.parametrize("changed", [False, True], ids=["another component", "the dataset"])
def test_a_temperature_is_fitted_again_if_its_own_dataset_changes_meanwhile(
    serve, monkeypatch, changed
):
    service = serve()
    kept, other = service.component(COUNTS), service.component({"owl": 3}, 300)
    named = service.dataset(UNSEEN, 100)
    listed = service.client.get(f"/v1/datasets/{named}/images?label=dog&limit=1").json()
    gone = (
        f"datasets/{named}/images/{listed['data'][0]['id']}" if changed else f"components/{other}"
    )
    engine, fitted = service.state.engine, []
    fit = engine.fit_temperature

    def fit_and_delete(model, name, *given):
        fitted.append(name)
        found = fit(model, name, *given)
        if len(fitted) == 1:
            delete(service, gone)
        return found

    monkeypatch.setattr(engine, "fit_temperature", fit_and_delete)

    answer = asked(service, named, components=kept)

    assert len(fitted) == (2 if changed else 1)
    assert answer["calibration"]["dataset_images"] == (15 if changed else 16)


def test_a_number_that_a_deletion_overtook_is_not_kept():
    held = NamedTemperatures()
    _, before = held.get("model", "ds_1 0 3")
    held.clear()
    held.keep("model", "ds_1 0 3", 2.0, before)
    assert held.get("model", "ds_1 0 3")[0] is None
    held.keep("model", "ds_1 0 3", 2.0, held.get("model", "ds_1 0 3")[1])
    assert held.get("model", "ds_1 0 3")[0] == 2.0
