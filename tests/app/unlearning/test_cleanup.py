"""A deletion leaves nothing on disk, even if it is interrupted."""

import os
import time
from collections.abc import Callable
from contextlib import closing

from app.receipts import references
from app.store import components, erasure
from app.store.db import transaction
from app.store.tables import Component
from tests.support.client import delete, verify
from tests.support.deletions import delete_dataset, run_killed
from tests.support.images import image
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
    # Its id stands in the receipt and, as row and as index entry, in the tombstone; nowhere else.
    known = [service.client.get(f"/v1/receipts/{receipt['id']}").text.count(component_id), 2]
    assert found(service, component_id.encode()) == sum(known)
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


def test_a_sweep_removes_only_files_that_are_provably_useless(service, caplog):
    blobs, old = service.state.blobs, time.time() - 2 * erasure.UNCLAIMED_SECONDS
    dataset_id = service.dataset({"cat": 3})
    names = ("training", "failed", "gone", "ready", "behind")
    ids = {name: service.queued(dataset_id) for name in names}
    with transaction(service.state.sessions) as session:
        for name in ("training", "failed", "ready", "behind"):
            components.start(session, ids[name], executor_id="w")
        components.fail(session, ids["failed"], code="x", detail="y")
        values = {"sha256": "s", "bytes": 1, "labels": {"cat": 3}, "metrics": {}}
        for name in ("ready", "behind"):
            key = f"components/{ids[name]}/won"
            components.publish(session, ids[name], blob_key=key, **values)
    delete(service, f"components/{ids['gone']}")
    kept = {f"components/{ids['training']}/a", f"components/{ids['ready']}/won"}
    swept = {
        f"components/{ids['failed']}/a",
        f"components/{ids['gone']}/late",
        f"components/{ids['ready']}/lost",
    }
    # The row names a file that is not there: its database may be of before there was this one.
    kept |= {f"components/{ids['behind']}/later"}
    unknown = {"components/cmp_never/old", "datasets/ds_never/old", "stray"}
    young = {"components/cmp_coming/x", "datasets/ds_coming/images.pack"}
    for key in kept | swept | unknown | young:
        path = blobs.scratch_path("test")
        path.write_bytes(b"x")
        blobs.put(path, key)
        if key not in young:
            os.utime(blobs.path(key), (old, old))
    os.utime(blobs.path(f"datasets/{dataset_id}/images.pack"), (old, old))

    with transaction(service.state.sessions) as session:
        found = set(erasure.remove_orphans(session, blobs))

    assert found == swept
    (warning,) = (each.getMessage() for each in caplog.records if each.name == erasure.__name__)
    assert warning.startswith("3 files that the database does not know were left where they are")
    assert all(key in warning for key in unknown)
    assert set(blobs.keys()) == kept | unknown | young | {f"datasets/{dataset_id}/images.pack"}


def test_the_log_is_emptied_even_while_others_hold_connections(service):
    component_id = service.component({"cat": 3})
    log = service.settings.data_dir / "tangent.db-wal"
    with closing(service.state.sessions()) as idle:
        idle.get(Component, component_id)
        idle.rollback()
        delete(service, f"components/{component_id}")

    assert not log.exists() or log.stat().st_size == 0
