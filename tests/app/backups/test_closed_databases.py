"""A database that was moved away, or whose restore was not finished, is used by no command."""

from pathlib import Path

import pytest

from app.backups import restore, store_access
from app.backups.backup import back_up
from app.backups.move import move
from app.cli import main
from app.database import migrate
from app.settings import BadSettings
from tests.support.stored import settings_of

MOVED = "tangent.db must not be used: its rows were moved to the database postgresql"
BEFORE_REASONS = "2026_11_28_closed_databases"  # the revision that made a place for them


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder on SQLite, migrated and empty."""
    monkeypatch.delenv("TANGENT_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    migrate.upgrade(settings_of(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def moved(folder: Path, empty_postgres: str) -> Path:
    """The folder of a store that was moved to Postgres, with the SQLite file of before."""
    move(settings_of(folder), empty_postgres)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        *("keys list", "keys revoke key_0", "keys create --name a --scopes read", "audit"),
        *("export-receipts x.jsonl", "backup x.tar", "spaces list", "verify-components"),
        *("serve --no-worker --port 0", "worker"),
    ],
)
def test_a_database_that_was_moved_away_is_refused(moved, capsys, command):
    assert main([*command.split(), "--data-dir", str(moved)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and MOVED in said.err
    assert not list(moved.parent.glob("x.*"))


def test_it_is_no_ledger_of_a_restore(moved, capsys):
    (moved.parent / "b.tar").touch()
    arguments = ["restore", "b.tar", "--data-dir", "new", "--ledger", str(moved)]

    assert main(arguments) == 2

    assert MOVED in capsys.readouterr().err and not Path("new").exists()


def test_it_says_where_its_rows_are_after_an_upgrade_too(moved):
    """Nobody migrates what was left, so it is of the version before."""
    migrate.downgrade(settings_of(moved), migrate.revisions()[1])

    with pytest.raises(BadSettings, match=MOVED):
        store_access.check_schema(settings_of(moved))


def test_a_store_whose_restore_was_not_finished_is_no_ledger(folder, monkeypatch, capsys):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    back_up(settings_of(folder), Path("b.tar"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(restore, "_open", die)
        restore.restore(settings_of(folder.parent / "half"), Path("b.tar"))

    assert main(["restore", "b.tar", "--data-dir", "new", "--ledger", "half"]) == 2
    assert "must not be used: its restore was not finished" in capsys.readouterr().err
    assert main(["restore", "b.tar", "--data-dir", "new", "--ledger", str(folder)]) == 0


def test_a_database_of_before_there_were_reasons_is_not_taken_for_a_closed_one(folder):
    revisions = migrate.revisions()
    migrate.downgrade(settings_of(folder), revisions[revisions.index(BEFORE_REASONS) + 1])

    with pytest.raises(BadSettings, match="of another version: run `tangent migrate`"):
        store_access.check_schema(settings_of(folder))
