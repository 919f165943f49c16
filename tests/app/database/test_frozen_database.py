"""A frozen Postgres server, a long statement and a held lock end in an error after a bounded wait.

The bound of a request is the database's time-out. No clock is read here: a wait without a bound
would never end, as the server stays frozen until the block does.
"""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.database import outages, postgres_connections
from app.database import sessions as db
from app.database.jobs import Jobs
from app.database.sessions import hold_write_lock, open_engine, session_factory, transaction
from app.database.tables import Tombstone
from app.settings import Settings
from tests.support.cut_lines import Cut, proxied
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service

SECONDS = 0.3


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "CONNECT_SECONDS", 2)


def settings(url: str) -> Settings:
    return Settings(**KEY_FREE | {"database_url": url, "database_timeout_seconds": SECONDS})


@pytest.fixture
def freezing(postgres: str, serve: Callable[..., Service]) -> Iterator[tuple[Service, Cut]]:
    """A service whose server can freeze."""
    with proxied(postgres) as (url, cut):
        yield serve(database_url=url, database_timeout_seconds=SECONDS), cut


def test_requests_to_a_frozen_server_are_answered(freezing: tuple[Service, Cut]):
    service, cut = freezing
    assert service.client.get("/v1/datasets").status_code == 200
    with cut.frozen():
        for _ in range(2):  # on the old line, and on a new one
            problem(service.client.get("/v1/datasets"), 503, "database_unavailable")
        problem(service.client.delete("/v1/components/cmp_1"), 503, "database_unavailable")
        assert service.client.get("/readyz").status_code == 503
        assert service.client.get("/livez").status_code == 200
        assert "tangent_database_up 0" in service.client.get("/metrics").text
    assert service.client.get("/v1/datasets").status_code == 200
    assert service.client.get("/readyz").status_code == 200


def test_a_statement_under_way_ends_when_the_server_freezes(postgres: str):
    with proxied(postgres) as (url, cut):
        engine = open_engine(settings(url))
        refused = pytest.raises(OperationalError, match="did not answer")
        with refused as caught, engine.connect() as connection:
            connection.scalar(text("SELECT 1"))
            with cut.frozen():
                connection.scalar(text("SELECT 2"))
        assert caught.value.connection_invalidated
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 3")) == 3
        engine.dispose()


def test_a_commit_that_freezes_is_unsettled_after_a_bounded_wait(
    postgres: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(db, "SETTLE_SECONDS", 0.5)
    with proxied(postgres) as (url, cut):
        engine, block = open_engine(settings(url)), cut.frozen()
        with pytest.raises(db.Unsettled), transaction(session_factory(engine)) as session:
            session.add(Tombstone(subject_id="ds_a", receipt_id="rcpt_a"))
            number, ask = db._number, lambda given: (number(given), block.__enter__())[0]
            monkeypatch.setattr(db, "_number", ask)
        block.__exit__(None, None, None)
        engine.dispose()


def test_the_job_engines_client_does_not_wait_for_a_frozen_server(postgres: str):
    with proxied(postgres) as (url, cut):
        jobs = Jobs(settings(url))
        assert jobs.running() == {}
        with cut.frozen(), pytest.raises(OperationalError):
            jobs.running()
        jobs.close()


def test_the_server_ends_a_long_statement_and_keeps_the_connection(postgres: str):
    engine = open_engine(settings(postgres))
    with engine.connect() as connection:
        own = connection.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(OperationalError, match="statement timeout") as caught:
            connection.execute(text("SELECT pg_sleep(60)"))
        assert not caught.value.connection_invalidated
        connection.rollback()
        assert connection.scalar(text("SELECT pg_backend_pid()")) == own
    found = outages.problem_of(caught.value)
    assert found is not None and found.code == "database_busy"
    engine.dispose()


def test_the_wait_for_the_write_lock_is_bounded(postgres: str):
    engine = open_engine(settings(postgres))
    sessions = session_factory(engine)
    with transaction(sessions) as first:
        hold_write_lock(first)
        refused = pytest.raises(OperationalError, match="lock timeout")
        with refused as caught, transaction(sessions) as second:
            hold_write_lock(second)
    found = outages.problem_of(caught.value)
    assert found is not None and found.code == "database_busy"
    engine.dispose()


def test_a_migration_may_take_its_time(postgres: str):
    engine = open_engine(settings(postgres), limited=False)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
        connection.execute(text("SELECT pg_sleep(1.7)"))  # the other engines' patience is 1.6 s
    engine.dispose()


def test_a_url_may_set_its_own_time_to_connect(postgres: str):
    engine = open_engine(settings(postgres + "?connect_timeout=77"))
    with engine.connect() as connection:
        line = connection.connection.driver_connection
        assert isinstance(line, psycopg.Connection)
        assert line.info.get_parameters()["connect_timeout"] == "77"
        assert line.info.get_parameters()["tcp_user_timeout"] == "20000"
    engine.dispose()
