"""Entries of the audit log come with the change, and go with it when it is rolled back."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from app.access import keys
from app.database import audit
from app.database.audit import Act
from app.database.sessions import affected, open_engine, session_factory, transaction, with_info
from app.database.tables import ApiKey, AuditEntry
from app.settings import Settings

ACT = Act("key_a", "POST /v1/keys", ("key_b",), "req_1")


@pytest.fixture
def sessions(migrated, tmp_path) -> Iterator[sessionmaker[Session]]:
    (tmp_path / "tangent.db").write_bytes((migrated / "tangent.db").read_bytes())
    engine = open_engine(Settings(data_dir=tmp_path, database_url=None, api_key=None))
    yield session_factory(engine)
    engine.dispose()


def entries(sessions: sessionmaker[Session]) -> list[AuditEntry]:
    with transaction(sessions) as session:
        return audit.list_(session, after=None, limit=100)


def test_a_change_has_one_entry_with_what_was_made(sessions):
    with transaction(with_info(sessions, act=ACT)) as session:
        first, _ = keys.create(session, name="Maria", scopes=["read"])
        second, _ = keys.create(session, name="Marek", scopes=["read"])
    (entry,) = entries(sessions)
    assert (entry.key_id, entry.action, entry.outcome) == ("key_a", "POST /v1/keys", "done")
    assert entry.request_id == "req_1"
    assert set(entry.objects) == {"key_b", first.id, second.id}
    assert "Mar" not in str(vars(entry))


def test_the_entry_is_rolled_back_with_the_change(sessions):
    def change(error: type[Exception]) -> None:
        with transaction(with_info(sessions, act=ACT)) as session:
            keys.create(session, name="a", scopes=["read"])
            session.flush()
            raise error("no")

    with pytest.raises(ValueError, match="no"):
        change(ValueError)
    assert entries(sessions) == []


def test_an_entry_that_cannot_be_written_takes_the_change_with_it(sessions):
    act = Act(None, "POST /v1/keys")  # type: ignore[arg-type]  # the column must not be null
    with (
        pytest.raises(Exception, match="NOT NULL"),
        transaction(with_info(sessions, act=act)) as session,
    ):
        keys.create(session, name="a", scopes=["read"])
    with transaction(sessions) as session:
        assert not keys.exist(session)


def test_what_changes_nothing_has_no_entry(sessions):
    with transaction(with_info(sessions, act=ACT)) as session:
        keys.list_(session, after=None, limit=10)
    with transaction(sessions) as session:  # the service's own work
        keys.create(session, name="a", scopes=["read"])
    assert entries(sessions) == []


def test_a_change_by_a_statement_alone_has_an_entry_if_it_met_a_row(sessions):
    with transaction(sessions) as session:
        keys.create(session, name="a", scopes=["read"])
    change = update(ApiKey).values(name="b")
    for found in (False, True):
        with transaction(with_info(sessions, act=ACT)) as session:
            affected(session, change if found else change.where(ApiKey.name == "none"))
        assert len(entries(sessions)) == int(found)


def test_the_entry_is_there_as_soon_as_the_change_is(sessions):
    bound = with_info(sessions, act=ACT)
    with transaction(bound) as session:
        key, _ = keys.create(session, name="a", scopes=["read"])
        assert entries(session_factory(sessions.kw["bind"], read_only=True)) == []
    assert entries(sessions)[0].objects == ["key_b", key.id]
    with transaction(bound) as session:  # one session's notes are not another's
        keys.create(session, name="b", scopes=["read"])
    assert key.id not in entries(sessions)[1].objects


def test_a_name_can_be_found_by_its_hash_and_by_nothing_else():
    assert audit.name_hash("space", "a") == audit.name_hash("space", "a")
    assert len({audit.name_hash(*given) for given in (("space", "a"), ("composition", "a"))}) == 2
    assert "patients" not in audit.name_hash("space", "patients")
