"""A component is made again over HTTP: a file and a row that were changed together are found."""

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors import safe_open
from sqlalchemy import update

from app.database.sessions import transaction
from app.database.tables import Component, Dataset
from app.operations import recomputation, trainer
from tests.support.client import delete
from tests.support.images import archive
from tests.support.keys import by, made
from tests.support.problems import problem
from tests.support.service import Service
from training_worker.training import Training

SCOPE = "head"
COUNTS = {"cat": 4, "dog": 4}


def row(service: Service, component_id: str) -> Component:
    with transaction(service.state.sessions) as session:
        return session.get_one(Component, component_id)


def file_of(service: Service, component_id: str) -> Path:
    return service.state.blobs.path(row(service, component_id).blob_key)


def verify(service: Service, component_id: str) -> httpx.Response:
    answer = service.client.post(f"/v1/components/{component_id}/verify")
    assert list(service.state.blobs.scratch.iterdir()) == []
    return answer


def found(service: Service, component_id: str) -> dict[str, Any]:
    answer = verify(service, component_id)
    assert answer.status_code == 200, answer.text
    return answer.json()


def replace(service: Service, component_id: str, data: bytes) -> str:
    """Do what somebody with all rights would: write the file, and its hash into the row."""
    file_of(service, component_id).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    with transaction(service.state.sessions) as session:
        changed = update(Component).where(Component.id == component_id)
        session.execute(changed.values(sha256=sha256))
    return sha256


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of the verification run in this process: for what its own process is no part of."""

    def run(settings: Any, component_id: str, folder: Path, **_: Any) -> dict[str, Any]:
        return {"type": "done"} | Training(settings).run(component_id, folder, lambda _: None)

    monkeypatch.setattr(trainer, "make_again", run)


@contextmanager
def while_made(act: Callable[[], None]) -> Iterator[None]:
    """Act after the request has read the rows and before the trainer starts."""
    make_again = trainer.make_again

    def late(*arguments: Any, **more: Any) -> dict[str, Any]:
        act()
        return make_again(*arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "make_again", late)
        yield


def test_a_component_is_what_its_images_make_and_the_answer_names_them(service):
    id_ = service.component(COUNTS)
    stored = hashlib.sha256(file_of(service, id_).read_bytes()).hexdigest()
    with zipfile.ZipFile(io.BytesIO(archive(COUNTS, 0))) as sent:  # what the client itself has
        files = [(sent.read(name), name.split("/")[0]) for name in sent.namelist()]
    lines = sorted(f"{hashlib.sha256(data).hexdigest()} {label}\n" for data, label in files)

    answer = found(service, id_)

    assert answer["ok"] is True and "to the byte" in answer["detail"]
    assert answer["made_sha256"] == answer["file_sha256"] == answer["sha256"] == stored
    assert answer["differing"] is None
    assert answer["images"] == {
        "count": 8,
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }


def test_a_flipped_byte_is_found_although_row_and_file_agree(service):
    id_ = service.component(COUNTS)
    data = bytearray(file_of(service, id_).read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    with safe_open(file_of(service, id_), framework="pt") as file:
        names = list(file.offset_keys())  # in the order of their places
    data[begin] ^= 1
    forged = replace(service, id_, bytes(data))

    answer = found(service, id_)

    assert answer["ok"] is False
    assert answer["sha256"] == answer["file_sha256"] == forged != answer["made_sha256"]
    assert answer["differing"] == [names[0]]


def test_another_components_file_differs_in_all_that_its_images_tell(service, quick):
    mine, other = service.component(COUNTS), service.component(COUNTS, 20)
    replace(service, mine, file_of(service, other).read_bytes())

    answer = found(service, mine)

    assert answer["ok"] is False
    assert {"delta.head", "statistics.gram"} <= set(answer["differing"])
    assert (
        answer["made_sha256"]
        == hashlib.sha256(
            file_of(
                service, service.train(service.queued(row(service, mine).dataset_id))
            ).read_bytes()
        ).hexdigest()
    )


def test_changed_settings_in_the_file_are_named_as_its_metadata(service, quick):
    id_ = service.component(COUNTS)
    data = file_of(service, id_).read_bytes()
    replace(service, id_, data.replace(b'\\"seed\\": 0', b'\\"seed\\": 1', 1))

    assert found(service, id_)["differing"] == ["__metadata__"]


def test_a_file_that_nobody_can_read_and_one_that_is_not_its_rows_are_found(service, quick):
    unreadable, other = service.component(COUNTS), service.component(COUNTS, 20)
    replace(service, unreadable, b"\xff" * 100)
    file_of(service, other).write_bytes(file_of(service, other).read_bytes() + b"?")

    broken, grown = found(service, unreadable), found(service, other)

    assert (broken["ok"], broken["differing"]) == (False, None)
    assert grown["ok"] is False and grown["sha256"] == grown["made_sha256"]
    assert grown["file_sha256"] != grown["sha256"]


def test_bytes_of_another_kind_of_machine_are_not_called_wrong(service, quick):
    mine, other = service.component(COUNTS), service.component(COUNTS, 20)
    replace(service, mine, file_of(service, other).read_bytes())
    with transaction(service.state.sessions) as session:
        component = session.get_one(Component, mine)
        component.metrics = component.metrics | {"environment": "another"}

    answer = found(service, mine)

    assert answer["ok"] is None and "no bytes to compare" in answer["detail"]


def test_what_was_not_trained_here_in_one_step_is_refused(service):
    assert service.client.post(
        "/v1/spaces",
        json={"name": "blocks", "backbone": "resnet_micro_32", "scope": "last-block"},
    ).is_success
    trained = service.component(COUNTS)
    file = file_of(service, trained).read_bytes()
    delete(service, f"components/{trained}")
    answer = service.client.post("/v1/components/import", files={"file": ("a.safetensors", file)})
    imported = answer.json()["id"]
    dataset = service.dataset(COUNTS, 40)
    queued, block = service.queued(dataset), service.queued(dataset, space="blocks")
    with transaction(service.state.sessions) as session:
        session.execute(update(Component).where(Component.id == block).values(status="ready"))

    problem(verify(service, imported), 409, "component_not_trained_here")
    problem(verify(service, queued), 409, "component_not_ready")
    problem(verify(service, block), 409, "component_not_linear")
    problem(verify(service, trained), 410, "component_deleted")
    problem(verify(service, "cmp_none"), 404, "component_not_found")


def test_images_that_are_damaged_or_gone_are_named(service):
    id_ = service.component(COUNTS)
    with transaction(service.state.sessions) as session:
        pack = service.state.blobs.path(
            session.get_one(Dataset, row(service, id_).dataset_id).pack_key
        )
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    problem(verify(service, id_), 503, "image_damaged")


def test_a_deletion_while_it_is_made_again_ends_it(service):
    id_ = service.component(COUNTS)
    with while_made(lambda: delete(service, f"components/{id_}") and None):
        problem(verify(service, id_), 410, "component_deleted")


def test_an_image_that_is_deleted_while_it_is_made_again_is_not_called_a_forgery(service):
    id_ = service.component(COUNTS)
    dataset = row(service, id_).dataset_id
    images = service.client.get(f"/v1/datasets/{dataset}/images").json()["data"]
    gone = f"datasets/{dataset}/images/{images[0]['id']}"
    with while_made(lambda: delete(service, gone) and None):
        problem(verify(service, id_), 409, "component_changed")
    assert found(service, id_)["images"]["count"] == 7


def test_what_takes_too_long_is_ended(service, monkeypatch):
    id_ = service.component(COUNTS)
    monkeypatch.setattr(recomputation, "MAX_SECONDS", 0.01)
    refused = problem(verify(service, id_), 409, "component_too_large")
    assert "tangent verify-components" in refused["detail"]


def test_a_trainer_that_dies_is_an_outage(service, monkeypatch):
    id_ = service.component(COUNTS)
    monkeypatch.setattr(trainer, "MODULE", "no_such_module")
    problem(verify(service, id_), 503, "trainer_died")


def test_one_component_is_verified_at_a_time(service, monkeypatch):
    id_ = service.component(COUNTS)
    monkeypatch.setattr(recomputation, "PATIENCE_SECONDS", 0.01)
    with service.state.making_again:
        refused = problem(verify(service, id_), 503, "verification_busy")
    assert refused["retry_after"] > 0


def test_it_takes_scope_train_and_counts_the_images_of_the_key(service, quick):
    id_ = service.component(COUNTS)
    service.client.headers["Authorization"] = f"Bearer {made(service, 'admin')['key']}"
    path = f"/v1/components/{id_}/verify"
    with by(service, "read", "predict") as client:
        problem(client.post(path), 403, "scope_missing")
    with by(service, "train", limits={"images_per_second": 0.001}) as client:
        assert client.post(path).json()["ok"] is True
        problem(client.post(path), 429, "rate_limited")
    shutil.rmtree(service.state.blobs.root / "components")
    problem(service.client.post(path), 503, "component_damaged")
