"""Workers as real processes: killed, frozen and told to end in the middle of trainings."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

import tangent
from app.database.sessions import transaction
from app.database.tables import Component
from app.store import components, workers
from tests.support.command import environment
from tests.support.workers import (
    LONG,
    assert_published_once,
    files,
    in_training,
    shorten,
    status,
    until,
)


def gone(pid: int) -> bool:
    """Return True if no process has this id, or only a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def records(store, component_id: str) -> int:
    """Return how many rows of the engine's tables name the component."""
    schema = "dbos." if store.engine.dialect.name == "postgresql" else ""
    tables = "workflow_status", "workflow_input", "workflow_output", "operation_outputs"
    with store.engine.connect() as connection:
        return sum(
            connection.scalar(
                text(f"SELECT count(*) FROM {schema}{table} WHERE workflow_uuid = :id"),
                {"id": component_id},
            )
            for table in tables
        )


def test_a_worker_trains_a_private_component_and_tells_nothing_else_of_its_images(store, start):
    terms = tangent.Privacy.resolve({"epsilon": 1.0, "delta": 1e-5}, ["a", "b"])
    component_id = store.queue(privacy=terms, l2=1e-4)
    start()
    until(lambda: status(store, component_id, "ready"))
    row = store.component(component_id)
    component = tangent.Component.load(store.blobs.path(row.blob_key))
    assert component.privacy == row.privacy == terms.as_dict()
    assert dict(component.labels) == row.labels
    assert set(row.metrics) == {"train_accuracy", "holdout_accuracy", "l2", "environment"}
    with store.sessions() as session:
        told = components.events(session, component_id, after=0, limit=100)
    steps = {(each.data["step"], each.data["total"]) for each in told if each.type == "progress"}
    assert steps <= {(0, 1)}
    assert {each.data.get("loss") for each in told} == {None}


def test_components_become_ready_and_one_that_cannot_be_trained_fails_with_its_reason(store, start):
    good, broken = store.queue(), store.queue(store.add_dataset(seed=1))
    pack = next(
        key for key in store.blobs.keys("datasets") if store.component(broken).dataset_id in key
    )
    store.blobs.path(pack).write_bytes(b"not what was uploaded" * 3000)
    start()
    until(lambda: status(store, broken, "failed"))
    assert_published_once(store, good, attempts=1)
    row = store.component(good)
    component = tangent.Component.load(store.blobs.path(row.blob_key))
    assert dict(component.labels) == row.labels == {"a": 6, "b": 6}
    assert row.metrics["train_accuracy"] is not None
    assert row.progress["step"] == row.progress["total"]
    failed = store.component(broken)
    assert failed.attempts == 1  # the same data would fail again
    assert failed.error["code"] == "image_damaged"
    assert "are not in its dataset's pack: restore the pack" in failed.error["detail"]


def test_cancelling_and_deleting_kill_the_trainer_within_two_seconds(store, start):
    cancelled, deleted, after = store.queue(**LONG), store.queue(**LONG), store.queue()
    worker = start()

    until(lambda: in_training(store, cancelled))
    trainer = worker.trainer()
    with transaction(store.sessions) as session:
        components.cancel(session, cancelled)
    store.jobs.cancel(cancelled)
    assert until(lambda: gone(trainer), 2) < 2
    assert status(store, cancelled, "cancelled")

    until(lambda: in_training(store, deleted))
    trainer = worker.trainer()
    with transaction(store.sessions) as session:
        session.delete(session.get_one(Component, deleted))
    store.jobs.cancel(deleted)
    store.jobs.forget([deleted])
    assert until(lambda: gone(trainer), 2) < 2

    until(lambda: status(store, after, "ready"))  # neither holds the worker's slot
    assert_published_once(store, after, attempts=1)
    assert len(files(store)) == 1
    assert list(store.blobs.scratch.iterdir()) == []
    assert records(store, deleted) == 0


def test_a_killed_trainer_costs_an_attempt_and_too_many_fail_the_training(store, start):
    struck, poison = store.queue(**LONG), store.queue(**LONG)
    worker = start(max_attempts=2)
    until(lambda: in_training(store, struck))
    shorten(store, struck)
    os.kill(worker.trainer(), signal.SIGKILL)
    until(lambda: status(store, struck, "ready", "failed"))
    assert_published_once(store, struck, attempts=2)

    for attempt in (1, 2):
        until(lambda attempt=attempt: in_training(store, poison, attempt))
        os.kill(worker.trainer(), signal.SIGKILL)
    until(lambda: status(store, poison, "failed"), 5)
    row = store.component(poison)
    assert row.attempts == 2
    assert row.error["code"] == "training_died"
    assert "killed by signal 9" in row.error["detail"]
    assert worker.process.poll() is None


def test_another_worker_finishes_what_a_killed_one_has_begun(store, start):
    first = start()
    component_id = store.queue(**LONG)
    until(lambda: in_training(store, component_id))
    shorten(store, component_id)
    start()
    trainer = first.trainer()
    first.signal(signal.SIGKILL)
    until(lambda: gone(trainer), 1)  # it dies with its worker
    until(lambda: status(store, component_id, "ready", "failed"))
    assert_published_once(store, component_id, attempts=2)
    with store.sessions() as session:
        assert len(workers.known(session)) == 1


def test_a_worker_that_was_frozen_publishes_nothing_twice_and_goes_on_working(store, start):
    frozen = start()
    component_id = store.queue(**LONG)
    until(lambda: in_training(store, component_id))
    shorten(store, component_id)
    trainer = frozen.trainer()
    frozen.signal(signal.SIGSTOP)  # its trainer runs on
    other = start()
    until(lambda: store.component(component_id).attempts == 2)
    frozen.signal(signal.SIGCONT)
    until(lambda: gone(trainer), 2)  # it has noticed that its attempt is lost
    until(lambda: status(store, component_id, "ready", "failed"))
    other.signal(signal.SIGTERM)
    other.process.wait(30)
    following = store.queue()
    until(lambda: status(store, following, "ready"))
    assert_published_once(store, component_id, attempts=2)
    assert_published_once(store, following, attempts=1)
    assert len(files(store)) == 2


def test_a_worker_that_is_told_to_end_hands_its_job_back_at_no_cost(store, start, capfd):
    first = start()
    component_id = store.queue(**LONG)
    until(lambda: in_training(store, component_id))
    shorten(store, component_id)
    trainer = first.trainer()
    first.signal(signal.SIGTERM)
    assert first.process.wait(15) == 0
    assert "Asyncio task cancelled" not in capfd.readouterr().err  # a clean stop is no trouble
    assert gone(trainer)
    row = store.component(component_id)
    assert (row.status, row.attempts) == ("queued", 0)
    assert store.jobs.running() == {}
    assert not store.blobs.scratch_of(component_id)
    with store.sessions() as session:
        assert workers.known(session) == set()
    start()
    until(lambda: status(store, component_id, "ready", "failed"))
    assert_published_once(store, component_id, attempts=1)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_worker_does_not_start_on_a_database_that_was_not_migrated(store, tmp_path):
    command = [sys.executable, "-m", "training_worker", "--data-dir", str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "run `tangent migrate`" in done.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_worker_does_not_start_on_a_device_that_is_not_there(store):
    command = [sys.executable, "-m", "app.cli", "worker", "--data-dir", store.settings.data_dir]
    done = subprocess.run(
        command, env=environment(device="cuda:77"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    told = "tangent: TANGENT_DEVICE is 'cuda:77': torch cannot compute on a device 'cuda:77' here"
    assert done.stderr.splitlines()[-1].startswith(told)
