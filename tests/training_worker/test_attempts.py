"""Attempts at a training without processes: the right to publish, and the writes meanwhile."""

import asyncio
import errno
from pathlib import Path

import pytest

from app.database.sessions import transaction
from app.database.tables import Component
from app.store import components, workers
from tests.support.workers import outcome


def test_of_two_attempts_that_both_end_one_is_published_and_one_file_stays(store, begin):
    component_id = store.queue()
    (zombie, old), (worker, new) = begin(component_id), begin(component_id)
    worker._finish(new, outcome(store, "new"))
    zombie._finish(old, outcome(store, "old"))
    row = store.component(component_id)
    assert (row.status, row.sha256, row.attempts) == ("ready", "new", 2)
    assert list(store.blobs.keys("components")) == [row.blob_key]
    assert store.blobs.path(row.blob_key).read_text() == "new"


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_training_that_ends_after_a_cancellation_or_deletion_leaves_no_file(store, begin, end):
    component_id = store.queue()
    worker, component = begin(component_id)
    with transaction(store.sessions) as session:
        if end == "cancel":
            components.cancel(session, component_id)
        else:
            session.delete(session.get_one(Component, component_id))
    assert not worker._note(component, None)
    assert not worker._note(component, {"type": "progress", "step": 1})
    worker._finish(component, outcome(store, "late"))
    worker._finish(component, {"type": "failed", "code": "late", "detail": "too late"})
    assert list(store.blobs.keys("components")) == []
    with store.sessions() as session:
        row = session.get(Component, component_id)
        assert (row and (row.status, row.progress, row.error)) in (None, ("cancelled", {}, None))


def test_an_attempt_that_was_taken_over_writes_no_progress_and_no_failure(store, begin):
    component_id = store.queue()
    (zombie, old), (worker, new) = begin(component_id), begin(component_id)
    assert not zombie._note(old, {"type": "progress", "step": 1})
    zombie._fail(old, "code", "detail")
    assert worker._note(new, {"type": "progress", "step": 2})
    row = store.component(component_id)
    assert (row.status, row.progress) == ("training", {"step": 2})


def test_there_is_nothing_to_begin_with_a_component_that_has_ended_or_is_gone(store, begin):
    component_id = store.queue()
    with transaction(store.sessions) as session:
        components.cancel(session, component_id)
    assert begin(component_id)[1] is None
    assert begin("cmp_unknown")[1] is None


def test_an_attempt_that_is_given_up_does_not_count(store, begin):
    component_id = store.queue()
    worker, component = begin(component_id)
    worker._release(component)
    row = store.component(component_id)
    assert (row.status, row.attempts) == ("queued", 0)
    worker._release(component)  # of what is not held any more, nothing
    assert store.component(component_id).attempts == 0


def test_a_file_that_cannot_be_stored_fails_the_training_with_its_reason(store, begin):
    component_id = store.queue()
    worker, component = begin(component_id)
    lost = outcome(store, "lost") | {"file": str(store.blobs.scratch / "not-there")}
    worker._finish(component, lost)
    row = store.component(component_id)
    assert row.status == "failed"
    assert row.error["code"] == "storage_failed"
    assert "could not be stored" in row.error["detail"]


def test_beats_are_by_the_clock_of_the_database_and_silence_is_noticed(store):
    with transaction(store.sessions) as session:
        workers.beat(session, "one")
        workers.beat(session, "one")
    with store.sessions() as session:
        assert workers.known(session) == workers.alive(session, dead_seconds=60) == {"one"}
        assert workers.alive(session, dead_seconds=-1) == set()
    with transaction(store.sessions) as session:
        workers.leave(session, "one")
        workers.leave(session, "one")
    with store.sessions() as session:
        assert workers.known(session) == set()


@pytest.mark.parametrize("step", ["folder", "file"])
def test_a_full_disk_fails_the_training_as_what_it_is(store, begin, monkeypatch, step):
    component_id = store.queue()
    worker, component = begin(component_id)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "folder":
        monkeypatch.setattr(Path, "mkdir", full)
        asyncio.run(worker._attempt(component))
    else:
        done = outcome(store, "done")
        monkeypatch.setattr(type(store.blobs), "put", full)
        worker._finish(component, done)
    monkeypatch.undo()
    row = store.component(component_id)
    assert (row.status, row.error["code"], row.attempts) == ("failed", "disk_full", 1)
    assert "no room left" in row.error["detail"] and "memory" not in row.error["detail"]
    assert list(store.blobs.keys("components")) == []
