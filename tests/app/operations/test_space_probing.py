"""Every space is opened once after a start, so that a changed one is known before its requests."""

import threading
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import tangent
from tests.support.service import Service

SCOPE = "head"
SHIPPED = Path(tangent.__file__).parent / "weights" / "resnet_micro_32.safetensors"
BODY = {"name": "own", "backbone": "resnet_micro_32:own.safetensors", "scope": "head"}


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a weights file; it changes under its name here."""
    monkeypatch.setattr("app.inference.engine.engine.open_space", tangent.open_space)
    save_file(load_file(SHIPPED), tmp_path / "own.safetensors")
    return tmp_path


def status(service: Service, name: str, wanted: str) -> str:
    """Return the space's status, which is the wanted one soon or not at all."""
    deadline = time.monotonic() + 30
    while True:
        found = service.client.get(f"/v1/spaces/{name}").json()["status"]
        if found == wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_a_space_that_opens_as_it_did_is_ready_before_any_request(offered: Path, serve) -> None:
    first = serve(weights_dir=offered)
    assert first.client.post("/v1/spaces", json=BODY).status_code == 201
    second = serve(data_dir=first.settings.data_dir, weights_dir=offered)
    assert status(second, "own", "ready") == "ready"
    assert second.client.get("/readyz").json()["spaces_unavailable"] == 0


def test_a_changed_space_is_told_of_before_any_request(offered: Path, serve) -> None:
    first = serve(weights_dir=offered)
    assert first.client.post("/v1/spaces", json=BODY).status_code == 201
    changed = {name: value * 2 for name, value in load_file(SHIPPED).items()}
    save_file(changed, offered / "own.safetensors")
    second = serve(data_dir=first.settings.data_dir, weights_dir=offered)
    assert status(second, "own", "unavailable") == "unavailable"
    ready = second.client.get("/readyz").json()
    assert (ready["status"], ready["spaces_unavailable"]) == ("degraded", 1)


def test_a_deleted_space_is_unavailable_no_more_in_any_process(offered: Path, serve) -> None:
    first = serve(weights_dir=offered)
    assert first.client.post("/v1/spaces", json=BODY).status_code == 201
    (offered / "own.safetensors").unlink()
    given = {"data_dir": first.settings.data_dir, "weights_dir": offered}
    deleting, other = serve(**given), serve(**given)
    for service in (deleting, other):
        assert status(service, "own", "unavailable") == "unavailable"
    assert deleting.client.delete("/v1/spaces/own").status_code == 200
    assert "tangent_spaces_unavailable 0.0" in deleting.client.get("/metrics").text
    for service in (deleting, other):
        ready = service.client.get("/readyz").json()
        assert (ready["status"], ready["spaces_unavailable"]) == ("ok", 0)
    assert "tangent_spaces_unavailable 0.0" in other.client.get("/metrics").text


def test_a_space_that_takes_long_to_open_does_not_hold_up_the_start(
    offered: Path, serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serve(weights_dir=offered)
    assert first.client.post("/v1/spaces", json=BODY).status_code == 201
    inside, go, opened = threading.Event(), threading.Event(), tangent.open_space

    def slow(backbone: str, *given, **more):
        if "own" in backbone:
            inside.set()
            assert go.wait(60)
        return opened(backbone, *given, **more)

    monkeypatch.setattr("app.inference.engine.engine.open_space", slow)
    second = serve(data_dir=first.settings.data_dir, weights_dir=offered)
    assert inside.wait(30)
    assert second.client.get("/readyz").status_code == 200
    assert status(second, "own", "not_opened") == "not_opened"
    go.set()
    assert status(second, "own", "ready") == "ready"
