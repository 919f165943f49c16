"""A deletion leaves nothing on disk, even if it is interrupted."""

import errno
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.database.sessions import transaction
from app.database.tables import Component
from app.files.blobs import LocalBlobs
from app.receipts import references
from tests.support.client import delete, verify
from tests.support.deletions import delete_dataset, run_killed
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

SECRETS = {"name": "Zwiebelmarkt", "label": "Quittengelee", "tag": "Xanthippe", "key": "Jauchzer"}


def test_no_byte_of_a_deleted_component_is_left_in_the_database_or_among_the_files(service):
    other = service.component({"cow": 4})
    counts = {SECRETS["label"]: 4, "cow": 4}
    dataset_id = service.dataset(counts, start=10, name=SECRETS["name"])
    component_id = service.client.post(
        "/v1/components",
        json={"dataset_id": dataset_id, "metadata": {"note": SECRETS["tag"]}},
        headers={"Idempotency-Key": SECRETS["key"]},
    ).json()["id"]
    service.train(component_id)
    body = {"rule": "joint", "components": [{"id": other}, {"id": component_id}]}
    service.client.put("/v1/compositions/both", json=body)
    images = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    delta = service.client.get(f"/v1/components/{component_id}/delta").content
    traces = [text.encode() for text in SECRETS.values()]
    traces += [each["sha256"].encode() for each in images if each["label"] == SECRETS["label"]]
    traces += [image(SECRETS["label"], 10)[60:], delta[-512:]]
    assert all(found(service, trace) for trace in traces)

    receipt = delete(service, f"datasets/{dataset_id}?cascade=true")

    assert [trace for trace in traces if found(service, trace)] == []
    # Its id, and nothing else of it, stays on purpose: in the receipt, in the tombstone (as row and
    # as index entry) and in the audit entry of its making, since entries hold ids only and are
    # never deleted. The deletion's own entry has the dataset's id.
    in_receipt = service.client.get(f"/v1/receipts/{receipt['id']}").text.count(component_id)
    log = service.client.get("/v1/audit").json()["data"]
    entries = [(each["action"], each["objects"]) for each in log if component_id in str(each)]
    assert entries == [("POST /v1/components", [component_id])]
    assert found(service, component_id.encode()) == in_receipt + 2 + len(entries)
    assert references_to(service, component_id, dataset_id) == {}


def found(service: Service, trace: bytes) -> int:
    """Return how often these bytes occur in the data folder: database, its log, blobs, scratch."""
    files = [path for path in service.settings.data_dir.rglob("*") if path.is_file()]
    assert any(path.name == "tangent.db" for path in files)
    return sum(path.read_bytes().count(trace) for path in files)


def references_to(service: Service, *ids: str) -> dict[str, int]:
    with transaction(service.state.reading) as session:
        return references.count(session, service.state.blobs, ids)


def test_the_next_start_completes_a_deletion_killed_between_rows_and_files(
    serve: Callable[..., Service],
):
    service = serve()
    keep = service.component({"cow": 3})
    component_id = service.component({"Quittengelee": 3})
    dataset_id = service.client.get(f"/v1/components/{component_id}").json()["dataset_id"]
    folder = service.settings.data_dir
    delta = service.client.get(f"/v1/components/{component_id}/delta").content[-512:]

    run_killed(delete_dataset, service.settings, dataset_id)

    assert set(references_to(service, component_id, dataset_id)) == {"job_records", "blobs"}
    assert service.client.get(f"/v1/components/{component_id}").status_code == 410
    restarted = serve(data_dir=folder)
    (receipt,) = restarted.client.get("/v1/receipts").json()["data"]
    assert verify(restarted, receipt)["ok"]
    assert not found(restarted, delta) and not found(restarted, b"Quittengelee")
    assert restarted.client.get(f"/v1/components/{keep}/delta").status_code == 200


def test_a_step_that_fails_for_good_is_told_keeps_no_other_and_is_made_up_for_at_a_start(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
):
    service = serve()
    dataset_id = service.dataset({"Quittengelee": 3})
    component_id = service.train(service.queued(dataset_id))
    own = LocalBlobs.delete

    def failing(blobs: LocalBlobs, key: str) -> int:
        if key.startswith("components/"):
            raise OSError(errno.EIO, "Input/output error")
        return own(blobs, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalBlobs, "delete", failing)
        path = f"/v1/datasets/{dataset_id}?cascade=true"
        told = problem(service.client.delete(path), 503, "cleanup_unfinished")

    assert told["receipt_id"] in told["detail"]
    assert service.client.get(f"/v1/components/{component_id}").status_code == 410
    assert set(references_to(service, component_id, dataset_id)) == {"blobs"}  # and no job record
    restarted = serve(data_dir=service.settings.data_dir)
    (receipt,) = restarted.client.get("/v1/receipts").json()["data"]
    assert receipt["id"] == told["receipt_id"]
    assert verify(restarted, receipt)["ok"]


def test_a_step_that_fails_once_is_taken_again(service, monkeypatch):
    component_id = service.component({"cat": 3})
    own, left = LocalBlobs.delete, iter([True])

    def failing(blobs: LocalBlobs, key: str) -> int:
        if next(left, False):
            raise OSError(errno.EIO, "Input/output error")
        return own(blobs, key)

    monkeypatch.setattr(LocalBlobs, "delete", failing)
    assert verify(service, delete(service, f"components/{component_id}"))["ok"]


def test_the_log_is_emptied_even_while_others_hold_connections(service):
    component_id = service.component({"cat": 3})
    log = service.settings.data_dir / "tangent.db-wal"
    with closing(service.state.sessions()) as idle:
        idle.get(Component, component_id)
        idle.rollback()
        delete(service, f"components/{component_id}")

    assert not log.exists() or log.stat().st_size == 0


def test_a_start_removes_the_scratch_files_of_requests_that_ended_long_ago(serve):
    first = serve()
    scratch, old = first.state.blobs.scratch, time.time() - 7200
    files = ["upload-1", "import-2", "cmp_3-4", "cmp_3-4.partial"]
    for name in [*files, "cmp_5-young", "somebody-elses"]:
        (scratch / name).write_bytes(b"x")
    (scratch / "cmp_6-training").mkdir()
    for name in [*files, "somebody-elses", "cmp_6-training"]:
        os.utime(scratch / name, (old, old))
    serve(data_dir=first.settings.data_dir)
    left = sorted(path.name for path in scratch.iterdir())
    assert left == ["cmp_5-young", "cmp_6-training", "somebody-elses"]


def test_a_start_passes_over_scratch_files_that_others_remove_meanwhile(serve, monkeypatch):
    first = serve()
    real = LocalBlobs.scratch_of

    def listed(blobs: LocalBlobs, prefix: str) -> list[Path]:
        return [*real(blobs, prefix), blobs.scratch / f"{prefix}-gone"]

    monkeypatch.setattr(LocalBlobs, "scratch_of", listed)
    assert serve(data_dir=first.settings.data_dir).client.get("/readyz").status_code == 200
