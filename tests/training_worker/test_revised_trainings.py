"""A dataset loses an image while its component is queued or in training: nothing of it is learned.

Old attempts are fenced off by the component's generation; the new job is the engine's own.
"""

import io
import zipfile

import pytest

from app.database.jobs import records_of
from app.database.sessions import transaction
from app.database.tables import Image
from app.datasets import datasets
from app.store import components
from app.unlearning import change, change_plan, cleanup, deletion
from tests.support.stores import zipped
from tests.support.workers import (
    LONG,
    assert_published_once,
    files,
    in_training,
    outcome,
    shorten,
    status,
    until,
)
from training_worker.liveness import Liveness

GONE = "a/3.png"


def remove(store, dataset_id: str, path: str = GONE) -> dict:
    """Delete the image at this path of the archive as the API does; return the receipt's body."""
    with transaction(store.sessions) as session:
        rows = session.query(Image).filter_by(dataset_id=dataset_id, path=path)
        plan = change_plan.removal(session, dataset_id, rows.one().id)
    with transaction(store.sessions) as session:
        planned = change.of_plan(session, store.blobs, store.jobs, plan, {})
        done = deletion.apply(session, planned)
    cleanup.finish(done, store.sessions, store.jobs, store.blobs)
    return done.receipt.body


def add_dataset_without(store, path: str = GONE) -> str:
    """Add a dataset that never had the image; return its id."""
    file = io.BytesIO()
    with zipfile.ZipFile(zipped(6, "ab", 0)) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            if name != path:
                target.writestr(name, source.read(name))
    file.seek(0)
    with (
        datasets.receive(file, store.blobs, store.settings) as upload,
        datasets.store_pack(store.sessions, store.blobs, upload) as pack,
        transaction(store.sessions) as session,
    ):
        return datasets.add(session, pack, upload, name="noise").id


def content(store, component_id: str) -> bytes:
    return store.blobs.path(store.component(component_id).blob_key).read_bytes()


def test_a_training_in_flight_is_lost_and_run_anew_without_the_image(store, start):
    dataset_id = store.add_dataset()
    running, waiting = store.queue(dataset_id, **LONG), store.queue(dataset_id)
    never = store.queue(add_dataset_without(store))
    start()
    until(lambda: in_training(store, running))
    shorten(store, running)

    body = remove(store, dataset_id)

    assert body["components"] == [
        {"id": running, "outcome": "retraining"},
        {"id": waiting, "outcome": "queued"},
    ]
    until(lambda: all(status(store, each, "ready") for each in (running, waiting, never)))
    for each in (running, waiting):
        assert_published_once(store, each, attempts=1)
        assert content(store, each) == content(store, never)
        assert store.component(each).labels == {"a": 5, "b": 6}
    assert [store.component(each).generation for each in (running, waiting)] == [1, 0]


def test_an_attempt_from_before_the_deletion_publishes_nothing(store, begin):
    dataset_id = store.add_dataset()
    component_id = store.queue(dataset_id)
    zombie, old = begin(component_id)

    remove(store, dataset_id)

    assert not zombie._note(old, None)
    assert not zombie._note(old, {"type": "progress", "step": 1})
    zombie._release(old)
    worker, new = begin(f"{component_id}.1")
    assert (new.generation, new.attempts) == (1, 1)
    zombie._finish(old, outcome(store, "with the image"))
    zombie._finish(old, {"type": "failed", "code": "late", "detail": "too late"})
    assert (store.component(component_id).status, files(store)) == ("training", [])
    assert begin(component_id)[1] is None  # the old job finds nothing to do
    worker._finish(new, outcome(store, "without"))
    row = store.component(component_id)
    assert (row.status, row.sha256, row.retraining) == ("ready", "without", False)


def test_the_end_of_an_old_job_does_not_fail_the_new_one(store, begin, monkeypatch):
    dataset_id = store.add_dataset()
    component_id = store.queue(dataset_id)
    begin(component_id)
    remove(store, dataset_id)  # cancels the old job
    monkeypatch.setattr("training_worker.liveness.RECORD_SECONDS", -1.0)
    liveness = Liveness(store.settings, store.jobs, "worker")
    try:
        liveness._tidy()
    finally:
        liveness.engine.dispose()

    assert store.component(component_id).status == "queued"
    assert store.jobs.finished(older_than_seconds=-1) == []
    assert begin(f"{component_id}.1")[1] is not None


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_component_that_has_ended_stays_so_and_tells_nothing_of_the_image(store, begin, end):
    dataset_id = store.add_dataset()
    component_id = store.queue(dataset_id)
    worker, component = begin(component_id)
    worker._note(component, {"type": "progress", "step": 1, "loss": 0.25})
    with transaction(store.sessions) as session:
        if end == "failed":
            components.fail(session, component_id, code="image_unreadable", detail=f"see {GONE}")
        else:
            components.cancel(session, component_id)

    body = remove(store, dataset_id)

    row = store.component(component_id)
    assert body["components"] == []
    assert (row.status, row.labels, row.progress) == (end, {"a": 5, "b": 6}, {})
    assert GONE not in str(row.error)
    with store.sessions() as session:
        events = components.events(session, component_id, after=0, limit=100)
    assert [event.data["status"] for event in events if event.type == "status"][-1] == end
    assert not any(event.type == "progress" for event in events)


def test_deleting_a_component_deletes_the_jobs_of_all_its_generations(store, begin):
    dataset_id = store.add_dataset()
    component_id = store.queue(dataset_id)
    begin(component_id)
    remove(store, dataset_id)
    with transaction(store.sessions) as session:
        assert records_of(session, [component_id]) == {component_id, f"{component_id}.1"}
        deleted = deletion.apply(session, change.of_component(session, component_id))
    cleanup.finish(deleted, store.sessions, store.jobs, store.blobs)

    with transaction(store.sessions) as session:
        assert records_of(session, [component_id]) == set()
