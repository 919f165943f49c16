"""One worker at a time hands back the jobs of dead workers; none can keep the others from it."""

from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from app.database.sessions import transaction
from app.database.tables import ReaperLease, Worker, now
from app.store import workers
from tests.support.workers import until
from training_worker.liveness import Liveness

CUT = OperationalError("INSERT INTO worker", {}, psycopg.OperationalError("cut"))
LONG_AGO = now() - timedelta(days=1)


@pytest.mark.parametrize(("error", "level"), [(CUT, "WARNING"), (RuntimeError("odd"), "ERROR")])
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_beat_that_an_outage_prevents_is_one_line_and_a_fault_has_its_traceback(
    store, monkeypatch, caplog, error, level
):
    liveness = Liveness(store.settings, store.jobs, "w1")

    def beat(*_) -> None:
        liveness._stop.set()  # the last one
        raise error

    monkeypatch.setattr(workers, "beat", beat)
    try:
        liveness._run()
    finally:
        liveness.engine.dispose()
    (said,) = [each for each in caplog.records if "worker w1 could not give" in each.message]
    assert said.levelname == level
    assert (said.exc_info is None) == ("database_unavailable" in said.message) == (error is CUT)


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_worker_frozen_while_it_reaps_lets_another_one_reap(store):
    settings = store.settings.model_copy(update={"worker_dead_seconds": 1.0})
    frozen, other = (Liveness(settings, store.jobs, name) for name in ("frozen", "other"))

    def can_reap() -> bool:
        with other._reaping() as mine:
            return mine is not None

    try:
        with pytest.raises(DBAPIError), frozen._reaping() as mine:
            assert mine is not None
            assert not can_reap()
            until(can_reap, 20)
    finally:
        frozen.engine.dispose()
        other.engine.dispose()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_on_sqlite_a_frozen_reaper_loses_its_lease_and_hands_nothing_back(store, monkeypatch):
    settings = store.settings.model_copy(update={"worker_dead_seconds": 0.5})
    frozen, other = (Liveness(settings, store.jobs, name) for name in ("frozen", "other"))
    with transaction(store.sessions) as session:
        session.add(Worker(executor_id="dead", started_at=LONG_AGO, beat_at=LONG_AGO))
    handed_back: list[str] = []
    monkeypatch.setattr(store.jobs, "running", lambda: {"dead": ["cmp_1"]})
    monkeypatch.setattr(store.jobs, "hand_back", handed_back.extend)

    def reap(liveness: Liveness) -> bool:
        with liveness._reaping() as still:
            if still is not None:
                liveness._reap(still)
            return still is not None

    try:
        with frozen._reaping() as still:
            assert still is not None and still()
            assert not reap(other)
            until(lambda: reap(other), 20)
            assert handed_back == ["cmp_1"]
            with other._reaping():
                assert not still()
                with transaction(store.sessions) as session:
                    session.add(Worker(executor_id="dead", started_at=LONG_AGO, beat_at=LONG_AGO))
                frozen._reap(still)
        assert handed_back == ["cmp_1"]
    finally:
        frozen.engine.dispose()
        other.engine.dispose()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_lease_from_before_the_clock_was_set_back_binds_nobody(store):
    with transaction(store.sessions) as session:
        session.add(ReaperLease(number=1, holder="x", expires_at=now() + timedelta(days=1)))
    with transaction(store.sessions) as session:
        assert workers.take_lease(session, "y", seconds=15)
        assert not workers.take_lease(session, "z", seconds=15)
