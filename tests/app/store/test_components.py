"""The life of a component: every move of its status is allowed, refused and timed as in MOVES."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.database import migrate
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Component, now
from app.errors import Conflict
from app.settings import Settings
from app.store import components, spaces

FACTS = dict.fromkeys(
    ("backbone", "scope", "fingerprint", "engine", "engine_reason", "default_rule"), "x"
)
FACTS |= dict.fromkeys(("image_size", "parameters_total", "parameters_tangent"), 1)
FACTS |= {"declared_labels": []}
LONG_AGO = datetime(2020, 1, 31, tzinfo=UTC)
FILE = {"blob_key": "key", "sha256": "abc", "bytes": 3}
RESULT = FILE | {"labels": {"a": 1}, "metrics": {"loss": 0.5}}

# The status after each move from each status; a status that is not named refuses the move.
ENDS: dict[str, dict[str, str]] = {
    "start": {"queued": "training", "training": "training"},
    "progress": {"training": "training"},
    "release": {"training": "queued"},
    "publish": {"training": "ready"},
    "fail": {"queued": "failed", "training": "failed"},
    "cancel": {"queued": "cancelled", "training": "cancelled"},
    "withdraw": {"queued": "cancelled", "training": "cancelled", "ready": "cancelled"},
    "requeue": {"training": "queued", "ready": "queued"},
    "spoil": {"ready": "failed"},
    "restore": {"failed": "ready"},
    "retry": {"failed": "queued"},
}


class Jobs:
    """A queue that only remembers what came in."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def enqueue(self, session: Session, job_id: str) -> None:
        self.ids.append(job_id)


def cancel(session: Session) -> bool:
    try:
        return components.cancel(session, "cmp_1").status == "cancelled"
    except Conflict as error:
        assert error.code == "component_finished"
        return False


def requeue(session: Session) -> bool:
    jobs = Jobs()
    row = components.requeue(session, jobs, "cmp_1", outcome="retraining")
    assert jobs.ids in ([], [row.job_id])
    return bool(jobs.ids)


def moved(session: Session, move: str) -> bool:
    made = components.move(session, "cmp_1", move)
    if made:
        status = components.get(session, "cmp_1").status
        components.add_event(session, "cmp_1", "status", status=status)
    return made


CALLS: dict[str, Callable[[Session], Any]] = {
    "start": lambda session: components.start(session, "cmp_1", executor_id="w") is not None,
    "progress": lambda session: components.progress(session, "cmp_1", {"step": 2}),
    "release": lambda session: components.release(session, "cmp_1", generation=0, attempt=1),
    "publish": lambda session: components.publish(session, "cmp_1", **RESULT),
    "fail": lambda session: components.fail(session, "cmp_1", code="c", detail="d"),
    "cancel": cancel,
    "withdraw": lambda session: components.withdraw(session, "cmp_1"),
    "requeue": requeue,
    "spoil": lambda session: moved(session, "spoil"),
    "restore": lambda session: moved(session, "restore"),
    "retry": lambda session: moved(session, "retry"),
}


@pytest.fixture(params=["sqlite", "postgres"])
def sessions(
    request: pytest.FixtureRequest, tmp_path: Path, migrated: Path
) -> Iterator[sessionmaker[Session]]:
    """Sessions of a database with one space, of either kind."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    settings = Settings(data_dir=tmp_path / "data", database_url=url, api_key=None)
    if url is None:
        shutil.copytree(migrated, settings.data_dir)
    else:
        migrate.upgrade(settings)
    engine = open_engine(settings)
    with transaction(session_factory(engine)) as session:
        spaces.create(session, name="default", opened=FACTS)
    yield session_factory(engine)
    engine.dispose()


def put(sessions: sessionmaker[Session], status: str, **columns: Any) -> None:
    """Insert one component, in this status since long ago."""
    begun, ended = status != "queued", status in components.TERMINAL
    values = {
        "attempts": int(begun),
        "started_at": LONG_AGO if begun else None,
        "finished_at": LONG_AGO if ended else None,
        "progress": {"step": 1} if begun else {},
        **(RESULT if status == "ready" else {"labels": {}}),
        **columns,
    }
    with transaction(sessions) as session:
        old = session.get(Component, "cmp_1")
        if old is not None:
            for event in components.events(session, "cmp_1", after=0, limit=100):
                session.delete(event)
            session.flush()
            session.delete(old)
            session.flush()
        row = Component(id="cmp_1", name="x", space="default", status=status, seed=0, **values)
        row.hyperparameters, row.tags, row.fingerprint = {}, {}, "x"
        session.add(row)


def make(sessions: sessionmaker[Session], move: str) -> tuple[bool, Component, list[Any]]:
    """Make the move; return its result, the row after it, and the events that it added."""
    with transaction(sessions) as session:
        made = CALLS[move](session)
    with transaction(sessions) as session:
        events = components.events(session, "cmp_1", after=0, limit=10)
        return made, components.get(session, "cmp_1"), [(e.type, e.data) for e in events]


def test_the_walk_knows_every_move_of_the_table():
    assert set(ENDS) == set(CALLS) == set(components.MOVES)


@pytest.mark.parametrize("move", ENDS)
def test_a_move_is_made_from_its_sources_and_refused_from_any_other_status(sessions, move):
    for status in components.STATUSES:
        put(sessions, status)
        with sessions() as session:
            before = vars(session.get_one(Component, "cmp_1"))
        made, row, events = make(sessions, move)
        if status in ENDS[move]:
            assert (made, row.status) == (True, ENDS[move][status])
            told = {"status": row.status} if move != "progress" else {"step": 2}
            assert len(events) == 1 and events[0][1].items() >= told.items()
        else:
            assert (made, events) == (False, [])
            same = {name: getattr(row, name) for name in before if name[0] != "_"}
            assert same == {name: before[name] for name in same}


@pytest.mark.parametrize("move", ["publish", "fail", "cancel", "withdraw"])
def test_a_training_that_ends_has_its_end_and_waits_for_nothing_more(sessions, move):
    put(sessions, "training", retraining=True)
    began = now()
    _, row, _ = make(sessions, move)
    assert row.started_at == LONG_AGO and began <= row.finished_at <= now()
    assert not row.retraining


def test_a_withdrawn_component_keeps_the_time_of_its_training_and_lets_go_of_its_file(sessions):
    put(sessions, "ready")
    _, row, _ = make(sessions, "withdraw")
    assert (row.started_at, row.finished_at) == (LONG_AGO, LONG_AGO)
    assert (row.blob_key, row.sha256) == (None, "abc")  # a deletion of a parent still finds it


def test_an_attempt_begins_now_and_counts_until_it_is_released(sessions):
    put(sessions, "queued")
    began = now()
    _, row, events = make(sessions, "start")
    assert began <= row.started_at <= now() and row.attempts == 1
    assert events == [("status", {"status": "training", "attempt": 1, "worker": "w"})]
    _, row, _ = make(sessions, "release")
    assert (row.attempts, row.progress) == (0, {})


def test_only_the_attempt_that_trains_is_released(sessions):
    put(sessions, "training", attempts=2)
    assert not make(sessions, "release")[0]
    put(sessions, "training", generation=1)
    assert not make(sessions, "release")[0]


def test_an_earlier_generation_neither_publishes_nor_fails(sessions):
    put(sessions, "training", generation=1)
    assert not make(sessions, "publish")[0]
    with transaction(sessions) as session:
        assert not components.fail(session, "cmp_1", code="c", detail="d", generation=0)
        assert components.fail(session, "cmp_1", code="c", detail="d", generation=1)


@pytest.mark.parametrize(
    ("status", "was_retraining", "retraining"),
    [("ready", False, True), ("training", False, False), ("training", True, True)],
)
def test_a_requeued_component_is_as_new_in_its_next_generation(
    sessions, status, was_retraining, retraining
):
    put(sessions, status, retraining=was_retraining, attempts=3)
    _, row, events = make(sessions, "requeue")
    assert (row.generation, row.attempts, row.job_id) == (1, 0, "cmp_1.1")
    assert row.retraining is retraining
    assert (row.started_at, row.finished_at, row.progress, row.metrics) == (None, None, {}, {})
    assert (row.blob_key, row.sha256, row.bytes) == (None, None, None)
    assert events == [("status", {"status": "queued", "outcome": "retraining"})]
