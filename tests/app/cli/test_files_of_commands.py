"""Files that commands write and read: what goes wrong with one is told of that one."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import changed_spaces, commands, main
from app.database import migrate
from app.database.audit import by_command, entry
from app.database.sessions import open_engine, session_factory, transaction
from app.settings import BadSettings
from tests.support.command import environment
from tests.support.stored import settings_of

PROGRAMS = ("app.cli", "tangent_composer.cli")
MANY = 3000  # lines that fill a pipe


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder on SQLite, migrated and empty."""
    monkeypatch.delenv("TANGENT_DATABASE_URL", raising=False)
    migrate.upgrade(settings_of(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def audited(folder: Path) -> list[str]:
    """The arguments of a command that prints more lines than a pipe holds."""
    engine = open_engine(settings_of(folder))
    with transaction(session_factory(engine)) as session:
        session.add_all(entry(by_command("tangent migrate")) for _ in range(MANY))
    engine.dispose()
    return ["audit", "--data-dir", str(folder)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_reader_that_has_seen_enough_of_a_list_is_no_fault(audited, program):
    command = [sys.executable, "-m", program, *audited]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), text=True, **pipes) as process:
        assert "tangent migrate" in process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_full_disk_below_the_output_is_not_blamed_on_the_data_folder(audited, program):
    command = [sys.executable, "-m", program, *audited]
    with open("/dev/full", "w") as full:
        pipes = {"stdout": full, "stderr": subprocess.PIPE}
        done = subprocess.run(command, env=environment(), text=True, check=False, **pipes)
    said = "tangent: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("command", ["export-receipts", "backup"])
def test_a_file_that_cannot_be_written_is_named(folder, capsys, command):
    assert main([command, "/nonexistent/x", "--data-dir", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tangent: /nonexistent/x was not written: ")
    assert "No such file" in said and "TANGENT_DATA_DIR" not in said


@pytest.mark.parametrize("command", ["spaces list", "spaces retrain site", "verify-components"])
def test_a_folder_without_a_database_is_not_blamed_on_its_version(tmp_path, capsys, command):
    assert main([*command.split(), "--data-dir", str(tmp_path / "none")]) == 2
    assert "the database has no tables: check TANGENT_DATA_DIR" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("flags", ["--settle", "--scrub", "--remove x"])
@pytest.mark.parametrize("is_there", [True, False])
def test_the_doctor_says_that_there_is_no_store_and_does_not_advise_to_make_one(
    tmp_path, capsys, monkeypatch, flags, is_there
):
    monkeypatch.delenv("TANGENT_DATABASE_URL", raising=False)
    typo = tmp_path / "typo"
    if is_there:
        typo.mkdir()
    assert main(["doctor", *flags.split(), "--data-dir", str(typo)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tangent: there is no store at {typo}")
    assert "TANGENT_DATA_DIR" in said and "migrate" not in said
    assert typo.exists() == is_there


def test_spaces_are_looked_for_in_a_store_only(tmp_path):
    with pytest.raises(BadSettings, match=f"there is no store at {tmp_path}/typo: "):
        list(changed_spaces.examine(settings_of(tmp_path / "typo")))


@pytest.mark.parametrize("place", [".", "/"])
def test_a_backup_is_no_folder(folder, capsys, place):
    assert main(["backup", place, "--data-dir", str(folder)]) == 2
    assert f"{place} is there already: choose another name" in capsys.readouterr().err


def test_receipts_that_find_the_disk_full_leave_no_file(folder, tmp_path, capsys, monkeypatch):
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "x.jsonl"
    real = Path.open

    def opened(path: Path, *arguments: object, **options: object):
        file = real(path, *arguments, **options)
        if path == target:
            monkeypatch.setattr(file, "writelines", full, raising=False)
        return file

    monkeypatch.setattr(Path, "open", opened)
    assert main(["export-receipts", str(target), "--data-dir", str(folder)]) == 2
    assert f"{target} was not written: No space left" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("elsewhere/b.tar", "elsewhere/b.tar cannot be used: Permission denied"),
        ("data/blobs", "the data folder cannot be used, see TANGENT_DATA_DIR: "),
    ],
)
def test_a_file_outside_of_the_data_folder_is_not_blamed_on_it(
    folder, capsys, monkeypatch, path, sentence
):
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder.parent / path))

    monkeypatch.setitem(commands.COMMANDS, "doctor", refuse)
    assert main(["doctor", "--data-dir", str(folder)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        *(["audit"], ["keys", "list"], ["keys", "revoke", "key_0"], ["doctor", "--settle"]),
        *(["export-receipts", "x.jsonl"], ["backup", "x.tar"], ["move", "--to", "sqlite:///x"]),
        *(["move", "--to", "postgresql://postgres@127.0.0.1:5432/postgres"], ["spaces", "list"]),
        *(["spaces", "retrain", "default"], ["verify-components"], ["worker"]),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_mistyped_data_folder_is_refused_and_nothing_is_made(
    tmp_path, capsys, monkeypatch, command, is_there
):
    monkeypatch.delenv("TANGENT_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    if is_there:
        (tmp_path / "typo").mkdir()
    assert main([*command, "--data-dir", "typo"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("tangent: ") and len(said.err.splitlines()) == 1
    assert [path.name for path in tmp_path.rglob("*")] == (["typo"] if is_there else [])
