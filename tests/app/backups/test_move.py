"""A store moves to another database and back, equal to the byte, and only one of the two serves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.backups.move import move
from app.cli import main
from app.database import migrate
from app.database.sessions import open_engine, session_factory, transaction
from app.files import folder_identity, folder_lock
from app.settings import BadSettings
from app.store import workers
from tests.support.client import verify
from tests.support.service import Service, running
from tests.support.stored import files, fill, seen, settings_of

Serve = Callable[..., Service]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder on SQLite, migrated and empty."""
    migrate.upgrade(settings_of(tmp_path / "data"))
    return tmp_path / "data"


def test_there_and_back_answers_ledger_and_blobs_are_equal_to_the_byte(folder, empty_postgres):
    sqlite, postgres = settings_of(folder), settings_of(folder, empty_postgres)
    with running(sqlite) as service:
        made = fill(service)
        before, blobs = seen(service), files(service)
    there = move(sqlite, empty_postgres)
    assert (there.ledger.number, there.queued) == (2, 1)
    with running(postgres) as service:
        assert seen(service) == before and files(service) == blobs
        assert all(verify(service, each)["ok"] for each in before["receipts"]["data"])
        after = service.queued(made.dataset)  # numbers of events go on
        events = service.client.get(f"/v1/components/{after}/events?after=0").json()["data"]
        old = before[f"/v1/components/{made.queued}/events"]["data"]
        assert events[0]["id"] > old[-1]["id"]
        before, blobs = seen(service), files(service)
    with pytest.raises(BadSettings, match="must not be used: its rows were moved to the database"):
        folder_identity.claim(sqlite)

    back = move(postgres, "sqlite")

    assert back.tables.keys() == there.tables.keys() and back.queued == 2
    assert not list(folder.glob("tangent.db-*")) and not (folder / "moving").exists()
    with running(sqlite) as service:
        assert seen(service) == before and files(service) == blobs
        assert service.train(after) == after
        assert all(verify(service, each)["ok"] for each in before["receipts"]["data"])
    with pytest.raises(BadSettings, match="must not be used: its rows were moved to the database"):
        folder_identity.claim(postgres)


def test_after_an_upgrade_in_between_the_file_that_was_moved_away_is_replaced(
    folder, empty_postgres
):
    sqlite, postgres = settings_of(folder), settings_of(folder, empty_postgres)
    move(sqlite, empty_postgres)
    migrate.downgrade(sqlite, migrate.revisions()[1])  # as the version before has left it

    move(postgres, "sqlite")

    assert migrate.is_current(sqlite)
    folder_identity.claim(sqlite)


def test_the_old_database_refuses_even_with_the_folders_identity_gone(folder, empty_postgres):
    sqlite = settings_of(folder)
    with running(sqlite) as service:
        service.dataset({"cat": 2})
    move(sqlite, empty_postgres)
    (folder / folder_identity.FILE).unlink()

    with pytest.raises(BadSettings, match="its rows were moved to the database postgresql"):
        folder_identity.claim(sqlite)


def test_nothing_is_moved_while_a_service_runs(serve: Serve, empty_postgres, capsys):
    service = serve()
    folder = str(service.settings.data_dir)

    assert main(["move", "--to", empty_postgres, "--data-dir", folder]) == 2
    assert "is in use, a service or a worker runs on it: stop it first" in capsys.readouterr().err
    assert migrate.is_empty(settings_of(service.settings.data_dir, empty_postgres))


def test_nothing_is_served_while_a_store_is_moved(folder):
    with folder_lock.exclusive(settings_of(folder)):
        assert main(["serve", "--no-worker", "--port", "0", "--data-dir", str(folder)]) == 2
        assert main(["worker", "--data-dir", str(folder)]) == 2


def test_a_worker_on_another_machine_is_seen_by_its_sign_of_life(folder, empty_postgres):
    settings = settings_of(folder)
    engine = open_engine(settings)
    with transaction(session_factory(engine)) as session:
        workers.beat(session, "elsewhere-7")
    engine.dispose()

    with pytest.raises(BadSettings, match="worker elsewhere-7 gave a sign of life"):
        move(settings, empty_postgres)


def test_a_target_with_rows_is_refused_and_nothing_is_changed(folder, empty_postgres, tmp_path):
    with running(settings_of(folder)) as service:
        service.dataset({"cat": 2})
    migrate.upgrade(settings_of(tmp_path / "other", empty_postgres))
    with running(settings_of(tmp_path / "other", empty_postgres)):
        pass  # makes the default space

    with pytest.raises(BadSettings, match="is not empty: name a new one"):
        move(settings_of(folder), empty_postgres)
    with pytest.raises(BadSettings, match=r"the rows are in the database .* already"):
        move(settings_of(folder), "sqlite")
    folder_identity.claim(settings_of(folder))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://u:secret@h/x", "a database of the kind mysql, and this service uses Postgres"),
        ("http://h/secret", "a database of the kind http"),
        ("postgresql+asyncpg://u:secret@h/x", "its driver is asyncpg"),
        ("postgresql://u:p@secret@127.0.0.1/x", "its password has an @"),
        ("postgresql://u:secret@127.0.0.1:1/x", "u:***@127.0.0.1:1/x cannot be used: "),
    ],
)
@pytest.mark.parametrize("flag", ["--to", "--ledger"])
def test_a_wrong_address_of_another_database_is_told_with_its_flag(
    folder, tmp_path, capsys, flag, url, sentence
):
    (tmp_path / "b.tar").touch()
    command = ["move"] if flag == "--to" else ["restore", str(tmp_path / "b.tar")]
    assert main([*command, flag, url, "--data-dir", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tangent: {flag}") and len(said.splitlines()) == 1
    assert sentence in said and "secret" not in said and "TANGENT_" not in said


def rename(folder: Path, name: str) -> None:
    engine = open_engine(settings_of(folder))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE dataset SET name = {name}")
    engine.dispose()


def test_rows_that_the_target_cannot_keep_are_named_and_nothing_is_moved(folder, empty_postgres):
    with running(settings_of(folder)) as service:
        service.dataset({"cat": 2})
    rename(folder, "'a' || char(0) || 'b'")

    with pytest.raises(BadSettings, match=r"nothing was moved, .* dataset cannot be copied"):
        move(settings_of(folder), empty_postgres)
    folder_identity.claim(settings_of(folder))
    rename(folder, "'a'")
    move(settings_of(folder), empty_postgres)
