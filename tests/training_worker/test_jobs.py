"""The queue: jobs come and go with rows, and the engine's records say nothing but ids."""

import threading

import pytest
from sqlalchemy import text

from app.database.sessions import transaction
from app.database.tables import Worker


def queued(store) -> list[str]:
    """Return the ids of the jobs on the queue, from the engine's own table."""
    schema = "dbos." if store.engine.dialect.name == "postgresql" else ""
    query = f"SELECT workflow_uuid FROM {schema}workflow_status WHERE status = 'ENQUEUED'"
    with store.engine.connect() as connection:
        return sorted(connection.scalars(text(query)))


def test_a_job_exists_if_and_only_if_its_transaction_was_committed(store):
    with store.sessions() as session:
        store.jobs.enqueue(session, "cmp_1")
        session.rollback()
    assert queued(store) == []
    with transaction(store.sessions) as session:
        store.jobs.enqueue(session, "cmp_1")
    assert queued(store) == ["cmp_1"]


def test_a_failing_transaction_takes_its_job_along(store):
    with (
        pytest.raises(RuntimeError, match="after the enqueue"),
        transaction(store.sessions) as session,
    ):
        store.jobs.enqueue(session, "cmp_1")
        raise RuntimeError("after the enqueue")
    assert queued(store) == []


def test_enqueueing_twice_is_enqueueing_once(store):
    with transaction(store.sessions) as session:
        store.jobs.enqueue(session, "cmp_1")
        store.jobs.enqueue(session, "cmp_1")
    with transaction(store.sessions) as session:
        store.jobs.enqueue(session, "cmp_1")
    assert queued(store) == ["cmp_1"]


def test_a_cancelled_job_leaves_the_queue_and_an_unknown_one_is_no_error(store):
    with transaction(store.sessions) as session:
        store.jobs.enqueue(session, "cmp_1")
    store.jobs.cancel("cmp_1")
    store.jobs.cancel("cmp_unknown")
    assert queued(store) == []
    assert store.jobs.finished(older_than_seconds=-1) == ["cmp_1"]


def test_forgetting_a_job_leaves_no_trace_of_its_id(store):
    with transaction(store.sessions) as session:
        store.jobs.enqueue(session, "cmp_1")
        store.jobs.enqueue(session, "cmp_2")
    store.jobs.forget(["cmp_1", "cmp_unknown"])
    store.jobs.forget([])
    schema = "dbos." if store.engine.dialect.name == "postgresql" else ""
    with store.engine.connect() as connection:
        for table in ("workflow_status", "workflow_input"):
            ids = connection.scalars(text(f"SELECT workflow_uuid FROM {schema}{table}"))
            assert list(ids) == ["cmp_2"]


def test_the_engine_stores_the_argument_as_json(store):
    with transaction(store.sessions) as session:
        store.jobs.enqueue(session, "cmp_1")
    schema = "dbos." if store.engine.dialect.name == "postgresql" else ""
    with store.engine.connect() as connection:
        inputs = connection.scalar(text(f"SELECT inputs FROM {schema}workflow_input"))
    assert inputs == '{"namedArgs":{},"positionalArgs":["cmp_1"]}'


def test_handing_back_an_unknown_job_is_no_error(store):
    store.jobs.hand_back(["cmp_unknown"])
    assert store.jobs.running() == {}


def test_the_engine_and_our_own_transactions_do_not_block_each_other_for_long(store):
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for step in range(15):
                component_id = f"cmp_{number}_{step}"
                with transaction(store.sessions) as session:
                    session.add(Worker(executor_id=component_id))
                    session.flush()
                    store.jobs.enqueue(session, component_id)
                store.jobs.running()
                store.jobs.cancel(component_id)
                store.jobs.forget([component_id])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=25)  # a deadlock ends with an error after 30 s
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    assert queued(store) == []
