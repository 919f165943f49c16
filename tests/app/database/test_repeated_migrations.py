"""A migration of a database that is up to date leaves it alone, as the service may be running."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from app.cli import main
from app.database import migrate, row_damage, row_triggers
from app.database.sessions import open_engine
from app.settings import BadSettings, Settings

SEALED = [table.name for table in row_damage.CHECKED]


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """The engine of a new database that has been migrated once."""
    migrate.upgrade(settings)
    engine = open_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = request.getfixturevalue("empty_postgres") if request.param == "postgres" else None
    return Settings(data_dir=tmp_path / "data", database_url=url, api_key=None)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Yield the statements that any engine of this process runs in the block."""
    said: list[str] = []

    def note(_connection, _cursor, statement, *_) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def changing_rows(said: list[str]) -> list[str]:
    """Return the statements that touch rows or their triggers."""
    return [each for each in said if "checksum" in each or "_sealed" in each]


def has_triggers(engine: Engine) -> bool:
    with engine.connect() as connection:
        return row_triggers.are_there(connection, SEALED)


def test_the_first_migration_seals_every_table(settings):
    with statements() as said:
        migrate.upgrade(settings)
    assert changing_rows(said)


def test_a_second_migration_touches_no_row_and_no_trigger(settings, engine):
    with statements() as said:
        migrate.upgrade(settings)

    assert said and changing_rows(said) == []
    assert has_triggers(engine)


def test_a_second_migration_makes_triggers_that_are_gone_again(settings, engine):
    with engine.begin() as connection:
        row_triggers.suspend(connection, ["dataset"])
    assert not has_triggers(engine)

    migrate.upgrade(settings)

    assert has_triggers(engine)


def test_a_trigger_that_is_switched_off_counts_as_gone(settings, engine):
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no such switch")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE component DISABLE TRIGGER USER")
    assert not has_triggers(engine)

    migrate.upgrade(settings)

    assert has_triggers(engine)


def test_a_database_of_a_newer_version_is_refused_as_such_and_left_alone(settings, engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '2999_from_later'")
    wanted = "of a newer version of the service: install that version, or restore a backup"

    with statements() as said, pytest.raises(BadSettings, match=wanted):
        migrate.upgrade(settings)
    assert not [each for each in said if each.startswith(("CREATE", "ALTER", "DROP", "INSERT"))]
    with pytest.raises(BadSettings, match=wanted):
        migrate.check_schema(settings)


def test_the_commands_do_not_send_from_a_newer_database_to_migrate(tmp_path, capsys):
    settings = Settings(data_dir=tmp_path, database_url=None, api_key=None)
    migrate.upgrade(settings)
    engine = open_engine(settings)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '2999_from_later'")
    engine.dispose()

    for command in ("migrate", "serve", "worker"):
        assert main([command, "--data-dir", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "newer version" in said and "tangent migrate" not in said
    assert main(["doctor", "--data-dir", str(tmp_path)]) == 1
    assert "newer version" in capsys.readouterr().out
