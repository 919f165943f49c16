"""A damaged component file takes its component out of the answers, and nothing and nobody else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.files import component_files
from app.store import damage
from tests.support.client import WAIT, compose, delete, predict, verify
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.unlearning import delta, image_id

SCOPE = "head"


def path_of(service: Service, component_id: str) -> Path:
    (key,) = service.state.blobs.keys(f"components/{component_id}")
    return service.state.blobs.path(key)


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def row_of(service: Service, component_id: str) -> dict[str, Any]:
    return service.client.get(f"/v1/components/{component_id}").json()


def unavailable(component_id: str) -> list[dict[str, str]]:
    return [{"id": component_id, "code": "component_damaged"}]


CHANGES: dict[str, Callable[[Path], None]] = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("how", CHANGES)
def test_the_others_answer_and_the_answer_says_so(service, how):
    good, bad = service.component({"cat": 4}), service.component({"dog": 4})
    dataset_id = row_of(service, good)["dataset_id"]
    compose(service, "named", [good, bad])
    compose(service, "everyone", "all")

    CHANGES[how](path_of(service, bad))

    answer = predict(service)
    assert answer.status_code == 200, answer.text
    assert [part["id"] for part in answer.json()["components"]] == [good]
    assert answer.json()["unavailable_components"] == unavailable(bad)
    row = row_of(service, bad)
    assert (row["status"], row["error"]["code"]) == ("failed", "component_damaged")
    assert f"POST /v1/components/{bad}/retrain" in row["error"]["detail"]
    events = service.client.get(f"/v1/components/{bad}/events").json()["data"]
    assert events[-1]["data"]["error"]["code"] == "component_damaged"
    assert service.client.get("/v1/spaces/default").json()["labels"] == ["cat"]
    assert service.client.get("/readyz").json()["status"] == "ok"
    for body in ({}, {"composition": "everyone"}):
        shown = service.client.post(
            "/v1/evaluations", json={"dataset_id": dataset_id} | body, headers=WAIT
        )
        assert shown.json()["unavailable_components"] == unavailable(bad)
    for fields in ({"composition": "named"}, {"components": f'[{{"id": "{bad}"}}]'}):
        document = problem(predict(service, **fields), 503, "component_damaged")
        assert bad in document["detail"]
    answers = answer.json()["results"]
    assert verify(service, delete(service, f"components/{bad}"))["ok"]
    assert predict(service).json()["results"] == answers


def test_a_damaged_file_is_never_sent(service):
    part = service.component({"cat": 4})
    etag = delta(service, part).headers["ETag"]
    flip(path_of(service, part))

    problem(delta(service, part), 503, "component_damaged")

    assert row_of(service, part)["status"] == "failed"
    known = service.client.get(f"/v1/components/{part}/delta", headers={"If-None-Match": etag})
    problem(known, 503, "component_damaged")


def test_a_file_is_hashed_for_its_first_download_only(service, monkeypatch):
    part, hashed = service.component({"cat": 4}), []
    check = component_files.check_open

    def counted(file: Any, key: str, sha256: str | None) -> None:
        hashed.append(key)
        check(file, key, sha256)

    monkeypatch.setattr(component_files, "check_open", counted)
    assert delta(service, part).content == delta(service, part).content
    assert len(hashed) == 1


def test_a_file_that_is_written_after_its_first_download_is_hashed_again(service):
    part = service.component({"cat": 4})
    path = path_of(service, part)
    assert delta(service, part).status_code == 200
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    problem(delta(service, part), 503, "component_damaged")


def test_a_file_that_is_put_back_serves_at_the_next_start(serve, capsys):
    first = serve()
    good, bad = first.component({"cat": 4}), first.component({"dog": 4})
    before = delete(first, f"components/{first.component({'cow': 3})}", probe="true")
    answers, path = predict(first).json()["results"], path_of(first, bad)
    content = path.read_bytes()
    flip(path)
    problem(delta(first, bad), 503, "component_damaged")
    assert predict(first).json()["unavailable_components"] == unavailable(bad)
    between = delete(first, f"components/{first.component({'cow': 3})}", probe="true")
    main(["doctor", "--data-dir", str(first.settings.data_dir)])
    assert f"component {bad} does not answer, the file" in capsys.readouterr().out
    path.write_bytes(content)

    second = serve(data_dir=first.settings.data_dir)

    assert row_of(second, bad)["status"] == "ready"
    assert [part["id"] for part in predict(second).json()["components"]] == [good, bad]
    assert predict(second).json()["results"] == answers
    for receipt in (before, between):
        found = verify(second, receipt)
        assert (found["ok"], found["manifest_ok"]) == (True, None)


def test_a_damaged_component_is_trained_again_on_request_to_the_same_bytes(service):
    good, bad = service.component({"cat": 4}), service.component({"dog": 4})
    receipt = delete(service, f"components/{service.component({'cow': 3})}")
    sha256 = row_of(service, bad)["sha256"]
    flip(path_of(service, bad))
    assert predict(service).json()["unavailable_components"] == unavailable(bad)

    queued = service.client.post(f"/v1/components/{bad}/retrain")

    assert queued.status_code == 202, queued.text
    assert (queued.json()["status"], queued.json()["error"]) == ("queued", None)
    assert service.client.post(f"/v1/components/{bad}/retrain").json() == queued.json()
    assert predict(service).json()["retraining"] == [bad]
    service.train(bad)
    assert row_of(service, bad)["sha256"] == sha256
    assert [part["id"] for part in predict(service).json()["components"]] == [good, bad]
    assert len(list(service.state.blobs.keys(f"components/{bad}"))) == 1
    assert verify(service, receipt)["ok"]


def test_only_failed_components_with_a_dataset_are_trained_again(service):
    part = service.component({"cat": 4})
    retrain = f"/v1/components/{part}/retrain"
    problem(service.client.post(retrain), 409, "component_not_failed")
    files = {"file": ("c.safetensors", delta(service, part).content)}
    imported = service.client.post(
        "/v1/components/import", files=files, data={"allow_duplicate": "true"}
    ).json()["id"]
    flip(path_of(service, imported))
    predict(service)
    answer = service.client.post(f"/v1/components/{imported}/retrain")
    assert (
        "import or derive it again" in problem(answer, 409, "component_not_trained_here")["detail"]
    )


@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_damaged_file_goes_with_an_image_that_it_was_trained_from(service, how):
    good = service.component({"cat": 4})
    bad = service.component({"dog": 4})
    path = path_of(service, bad)
    content = path.read_bytes()
    CHANGES[how](path)
    assert predict(service).json()["unavailable_components"] == unavailable(bad)
    dataset_id = row_of(service, bad)["dataset_id"]

    image = image_id(service, dataset_id, ("dog", 1))
    assert verify(service, delete(service, f"datasets/{dataset_id}/images/{image}"))["ok"]

    assert not path.exists()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)  # an old backup
    assert damage.mend(service.state.sessions, service.state.blobs) == []
    assert (row_of(service, bad)["status"], row_of(service, bad)["sha256"]) == ("failed", None)
    assert predict(service).json()["components"][0]["id"] == good
    service.client.post(f"/v1/components/{bad}/retrain")
    service.train(bad)
    twin = service.component({"dog": 4})
    assert row_of(service, bad)["sha256"] != row_of(service, twin)["sha256"]


def test_a_folder_that_is_away_for_a_moment_fails_nothing(service):
    part, root = service.component({"cat": 4}), service.state.blobs.root
    root.rename(root.with_name("away"))
    try:
        problem(predict(service), 503, "selection_changing")
    finally:
        root.with_name("away").rename(root)
    assert row_of(service, part)["status"] == "ready"
    assert predict(service).status_code == 200


def evaluation(service: Service, evaluation_id: str) -> dict[str, Any]:
    return service.client.get(f"/v1/evaluations/{evaluation_id}").json()


def preview(service: Service, component_id: str, **query: str) -> Any:
    path = f"/v1/components/{component_id}/deletion-preview"
    return service.client.get(path, params=query)


def test_an_evaluation_keeps_what_it_was_without_and_stays_valid_when_that_is_deleted(service):
    good, bad = service.component({"cat": 4}), service.component({"dog": 4})
    dataset_id = row_of(service, good)["dataset_id"]
    flip(path_of(service, bad))
    made = service.client.post(
        "/v1/evaluations", json={"dataset_id": dataset_id}, headers=WAIT
    ).json()
    assert made["unavailable_components"] == unavailable(bad)
    assert evaluation(service, made["id"]) == made
    assert preview(service, bad).json()["evaluations"] == 0

    receipt = delete(service, f"components/{bad}")

    assert verify(service, receipt)["ok"]
    assert evaluation(service, made["id"]) == made | {"unavailable_components": []}


def test_a_deletion_whose_probe_meets_a_damaged_file_changes_nothing_and_marks_it(service):
    good, bad = service.component({"cat": 4}), service.component({"dog": 4})
    compose(service, "everyone", "all")
    flip(path_of(service, bad))

    refused = service.client.delete(f"/v1/components/{good}", params={"probe": "true"})

    assert bad in problem(refused, 503, "probe_failed")["detail"]
    assert row_of(service, good)["status"] == "ready"
    assert row_of(service, bad)["error"]["code"] == "component_damaged"
    assert verify(service, delete(service, f"components/{good}", probe="true"))["ok"]


def test_the_preview_of_a_damaged_component_says_so_and_marks_it(service):
    good, bad = service.component({"cat": 4}), service.component({"dog": 4})
    dataset_id = row_of(service, good)["dataset_id"]
    flip(path_of(service, bad))

    refused = preview(service, bad, dataset_id=dataset_id)

    problem(refused, 503, "component_damaged")
    assert row_of(service, bad)["status"] == "failed"
    answer = preview(service, good, dataset_id=dataset_id)
    assert answer.json()["answers"]["accuracy_before"] == 1.0
