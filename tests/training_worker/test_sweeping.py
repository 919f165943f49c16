"""A worker looks for files of nobody beside its signs of life, however long that takes."""

import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from time import monotonic

import pytest

from app.database.tables import Worker
from app.files.quarantine import Quarantine
from tests.support.workers import until
from training_worker import sweeping
from training_worker.liveness import Liveness
from training_worker.sweeping import Sweeping

pytestmark = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


class LongSweep:
    """A sweep that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = threading.Event()

    def __call__(self, *_: object) -> None:
        self.begun += 1
        self.may_end.wait(60)


@pytest.fixture
def long_sweep(monkeypatch: pytest.MonkeyPatch) -> Iterator[LongSweep]:
    made = LongSweep()
    monkeypatch.setattr(sweeping, "sweep", made)
    yield made
    made.may_end.set()


def last_beat(store) -> datetime:
    with store.sessions() as session:
        return session.get_one(Worker, "w1").beat_at


def test_a_worker_beats_during_a_sweep_and_ends_before_it(store, monkeypatch, long_sweep):
    monkeypatch.setattr(sweeping, "END_SECONDS", 0.1)
    settings = store.settings.model_copy(update={"worker_heartbeat_seconds": 0.05})
    liveness = Liveness(settings, store.jobs, "w1")
    liveness.start()
    try:
        until(lambda: long_sweep.begun, 20)
        begun = last_beat(store)
        until(lambda: last_beat(store) > begun + timedelta(seconds=0.2), 20)
    finally:
        told = monotonic()
        liveness.stop()
    assert monotonic() - told < 10


def test_a_sweep_begins_once_the_last_has_ended_and_its_time_has_come(
    store, monkeypatch, long_sweep
):
    worker = Sweeping(store.settings)
    worker.begin_if_due()
    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", -1.0)
    worker.begin_if_due()
    until(lambda: long_sweep.begun, 20)
    assert long_sweep.begun == 1  # the first is under way

    long_sweep.may_end.set()
    worker.stop()
    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", 3600.0)
    worker.begin_if_due()
    assert long_sweep.begun == 1  # it is not time
    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", -1.0)
    worker.begin_if_due()
    worker.stop()
    assert long_sweep.begun == 2


def test_a_sweep_sets_aside_what_no_row_knows(store):
    path = store.blobs.scratch_path("test")
    path.write_bytes(b"x")
    store.blobs.put(path, "components/cmp_never/file")
    os.utime(store.blobs.path("components/cmp_never/file"), (0, 0))
    worker = Sweeping(store.settings)

    worker.begin_if_due()
    worker.stop()

    assert list(Quarantine(store.blobs).keys()) == ["components/cmp_never/file"]


def test_a_sweep_that_fails_is_told_and_tried_again(store, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(sweeping, "sweep", fail)
    worker = Sweeping(store.settings)
    worker.begin_if_due()
    worker.stop()
    assert "the sweep was interrupted, and is tried again in an hour" in caplog.text
