"""A space whose backbone has changed answers nothing, stops nothing else, and is trained again."""

import logging
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

import tangent
from app.cli import main
from app.inference import opened_spaces
from tests.support.client import WAIT, compose, delete, predict, upload, verify
from tests.support.images import archive
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.unlearning import image_id

SCOPE = "head"
SHIPPED = Path(tangent.__file__).parent / "weights" / "resnet_micro_32.safetensors"


@pytest.fixture(autouse=True)
def opened_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights change under one name here."""
    monkeypatch.setattr("app.inference.engine.engine.open_space", tangent.open_space)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file with weights of a backbone of our own."""
    path = tmp_path / "own.safetensors"
    path.write_bytes(SHIPPED.read_bytes())
    path.with_suffix(".json").write_bytes(SHIPPED.with_suffix(".json").read_bytes())
    return path


def change(path: Path) -> None:
    """Write other weights into the file."""
    tensors = safetensors.torch.load_file(path)
    name = min(tensors)
    tensors[name] = tensors[name] * 1.5
    safetensors.torch.save_file(tensors, path)


def backbone(path: Path) -> str:
    return f"resnet_micro_32:{path}"


def shown(service: Service, path: str) -> dict[str, Any]:
    answer = service.client.get(f"/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def run(service: Service, *arguments: str) -> int:
    return main(["spaces", *arguments, "--data-dir", str(service.settings.data_dir)])


def refused(service: Service, dataset_id: str, delta: bytes) -> list[Any]:
    """Return the answers to whatever needs the default space."""
    post = service.client.post
    return [
        predict(service),
        post("/v1/evaluations", json={"dataset_id": dataset_id}, headers=WAIT),
        post("/v1/components", json={"dataset_id": dataset_id}),
        post(
            "/v1/datasets",
            files={"file": ("images.zip", archive({"emu": 2}))},
            data={"train": "true"},
        ),
        post(
            "/v1/components/import",
            files={"file": ("c.safetensors", delta)},
            data={"allow_duplicate": "true"},
        ),
    ]


def test_a_changed_space_stops_only_its_answers(serve, weights, caplog):
    first = serve(backbone=backbone(weights))
    one, two, gone = (first.component({label: 3}) for label in ("cat", "dog", "cow"))
    dataset_id = shown(first, f"components/{one}")["dataset_id"]
    delta = first.client.get(f"/v1/components/{one}/delta").content
    receipt = delete(first, f"components/{gone}", probe="true")
    change(weights)

    with caplog.at_level(logging.WARNING):
        second = serve(data_dir=first.settings.data_dir)
        for answer in refused(second, dataset_id, delta):
            document = problem(answer, 503, "space_changed")
            assert "tangent spaces retrain default" in document["detail"]
            assert answer.headers["Retry-After"] == str(opened_spaces.RETRY_SECONDS)

    assert sum("is unavailable" in record.message for record in caplog.records) == 1
    space = shown(second, "spaces/default")
    assert (space["status"], space["unavailable"]["code"]) == ("unavailable", "space_changed")
    assert second.client.get("/readyz").status_code == 503
    assert "tangent_spaces_unavailable 1.0" in second.client.get("/metrics").text
    assert second.client.get(f"/v1/components/{one}/delta").content == delta
    upload(second, archive({"emu": 2}))
    assert verify(second, receipt)["ok"]
    assert verify(second, receipt)["probe_ok"] is None
    problem(
        second.client.delete(f"/v1/components/{one}?probe=true"), 503, "probe_failed"
    )  # nothing was changed
    assert verify(second, delete(second, f"components/{two}"))["ok"]
    image = image_id(second, dataset_id, ("cat", 1))
    removal = delete(second, f"datasets/{dataset_id}/images/{image}")
    assert verify(second, removal)["ok"]
    row = shown(second, f"components/{one}")
    assert (row["status"], row["retraining"]) == ("queued", True)


def test_other_spaces_answer_beside_a_changed_one(serve, weights):
    first = serve(backbone=backbone(weights))
    body = {"name": "other", "backbone": "resnet_micro_32", "scope": "head"}
    assert first.client.post("/v1/spaces", json=body).json()["status"] == "ready"
    part = first.component({"cat": 3}, space="other")
    change(weights)

    second = serve(data_dir=first.settings.data_dir)

    ready = second.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["spaces_unavailable"] == 1
    assert predict(second, space="other").json()["components"][0]["id"] == part
    assert shown(second, "spaces/other")["status"] == "ready"


def test_weights_that_are_put_back_serve_again(serve, weights, monkeypatch):
    first = serve(backbone=backbone(weights))
    first.component({"cat": 3})
    content = weights.read_bytes()
    weights.unlink()
    second = serve(data_dir=first.settings.data_dir)
    document = problem(predict(second), 503, "space_unavailable")
    assert "there is no weights file" in document["detail"]
    weights.write_bytes(content)
    problem(predict(second), 503, "space_unavailable")  # not tried for each request

    monkeypatch.setattr(opened_spaces, "RETRY_SECONDS", 0)
    second.state.spaces._faults.clear()

    assert predict(second).status_code == 200
    assert shown(second, "spaces/default")["unavailable"] is None
    assert second.client.get("/readyz").json()["status"] == "ok"


def test_retrained_components_equal_those_of_a_service_that_never_had_the_old_weights(
    serve, weights, capsys
):
    first = serve(backbone=backbone(weights))
    counts = {"one": {"cat": 3, "dog": 3}, "two": {"cow": 4}}
    ids = {name: first.component(each) for name, each in counts.items()}
    delta = first.client.get(f"/v1/components/{ids['one']}/delta").content
    imported = first.client.post(
        "/v1/components/import",
        files={"file": ("i.safetensors", delta)},
        data={"allow_duplicate": "true"},
    ).json()["id"]
    body = {"parents": [{"id": each} for each in ids.values()], "operator": "task_arithmetic"}
    derived = first.client.post("/v1/components/derive", json=body).json()["id"]
    waiting = first.queued(first.dataset({"hen": 3}))
    receipt = delete(first, f"components/{first.component({'owl': 2})}", probe="true")
    compose(first, "both", list(ids.values()))
    old = {name: shown(first, f"components/{each}")["sha256"] for name, each in ids.items()}
    files = set(first.state.blobs.keys("components"))
    change(weights)

    assert run(first, "list") == 1
    assert "default" in (listed := capsys.readouterr().out) and "was made with" in listed
    assert run(first, "retrain", "default") == 0
    assert "3 components are queued" in capsys.readouterr().out

    second = serve(data_dir=first.settings.data_dir)
    for component_id in (imported, derived):
        row = shown(second, f"components/{component_id}")
        assert (row["status"], row["error"]["code"]) == ("failed", "space_changed")
    rows = [shown(second, f"components/{each}") for each in ids.values()]
    assert [(row["status"], row["retraining"]) for row in rows] == [("queued", True)] * 2
    problem(predict(second), 409, "components_retraining")
    for component_id in (*ids.values(), waiting):
        second.train(component_id)
    fresh = serve(backbone=backbone(weights))
    for name, each in counts.items():
        again = shown(second, f"components/{ids[name]}")
        assert again["sha256"] not in old.values()
        twin = shown(fresh, f"components/{fresh.component(each)}")
        same = ("sha256", "fingerprint", "labels", "hyperparameters", "seed")
        assert {key: again[key] for key in same} == {key: twin[key] for key in same}
    assert predict(second, composition="both").status_code == 200
    assert run(second, "list") == 0
    found = verify(second, receipt)
    assert (found["ok"], found["manifest_ok"], found["probe_ok"]) == (True, None, None)
    kept = set(second.state.blobs.keys("components")) & files
    assert all(key.split("/")[1] == imported for key in kept)


def test_a_space_that_opens_as_it_did_is_not_trained_again(serve, weights, capsys):
    service = serve(backbone=backbone(weights))
    part = service.component({"cat": 3})

    assert run(service, "retrain", "default") == 0

    assert "0 components" in capsys.readouterr().out
    assert shown(service, f"components/{part}")["status"] == "ready"
    assert run(service, "retrain", "nowhere") == 2
    assert "no space 'nowhere' exists" in capsys.readouterr().err
    weights.unlink()
    assert run(service, "retrain", "default") == 2
    assert "there is no weights file" in capsys.readouterr().err
