"""Every command that changes something stands in the audit log, by the user who ran it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.backups.backup import back_up
from app.cli.commands import COMMANDS, main
from app.database import migrate
from app.database.audit import by_command, name_hash
from app.files.blobs import LocalBlobs
from app.settings import Settings
from tests.support.client import delete
from tests.support.flips import flip_bit
from tests.support.service import Service
from tests.support.stored import settings_of
from tests.support.unlearning import image_id

SCOPE = "head"
ME = f"command:{subprocess.check_output(['id', '-un'], text=True).strip()}"
CHANGING = {"keys", "spaces", "doctor", "restore", "move", "migrate"}  # tested here or beside them
SERVING = {"serve", "worker", "demo"}  # what they do is done by requests, or by the service itself
READING = {"backup", "export-receipts", "audit", *(each for each in COMMANDS if "verify" in each)}


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Returns the entries of commands that `tangent audit` prints for a store."""

    def read(settings: Settings) -> list[dict[str, Any]]:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if settings.database_url is not None:
                patch.setenv("TANGENT_DATABASE_URL", settings.database_url)
            assert main(["audit", "--json", "--data-dir", str(settings.data_dir)]) == 0
        entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert all(entry["request_id"] for entry in entries if entry["key_id"] != ME)
        return [entry for entry in entries if entry["key_id"] == ME]

    return read


def run(settings: Settings, *arguments: str) -> int:
    return main([*arguments, "--data-dir", str(settings.data_dir)])


def shown(entries: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(entry["action"], entry["objects"]) for entry in entries]


def stray(settings: Settings, name: str) -> Path:
    """Write a file that no row knows, long ago."""
    path = settings.data_dir / "blobs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    subprocess.check_call(["touch", "-d", "2 days ago", path])
    return path


def test_of_every_command_it_is_known_whether_it_changes_something():
    assert set(COMMANDS) == CHANGING | SERVING | READING


def test_the_doctor_tells_which_files_it_settled_and_removed(service, printed):
    gone = service.component({"cat": 2})
    delete(service, f"components/{gone}")
    stray(service.settings, f"components/{gone}/late")
    stray(service.settings, "components/patient-smith/file")

    assert run(service.settings, "doctor") == 1
    assert printed(service.settings) == []  # it has only looked

    assert run(service.settings, "doctor", "--settle") == 1
    hashed = name_hash("file", "components/patient-smith/file")
    settled = ("tangent doctor --settle", [gone, hashed])
    assert shown(printed(service.settings)) == [settled]

    assert run(service.settings, "doctor", "--remove", "components/patient-smith") == 0
    removed = ("tangent doctor --remove", [hashed])
    assert shown(printed(service.settings)) == [settled, removed]
    assert "smith" not in json.dumps(printed(service.settings))

    assert run(service.settings, "doctor", "--settle") == 0  # there is nothing to do
    assert shown(printed(service.settings)) == [settled, removed]


def test_the_entry_is_there_before_the_first_file_goes(service, printed, monkeypatch):
    gone = service.component({"cat": 2})
    delete(service, f"components/{gone}")
    file = stray(service.settings, f"components/{gone}/late")

    def fail(*_: object) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(LocalBlobs, "delete", fail)
    assert run(service.settings, "doctor", "--settle") == 2

    assert file.is_file()
    assert shown(printed(service.settings)) == [("tangent doctor --settle", [gone])]


def deleted_later(service: Service, file: Path) -> tuple[str, str]:
    """Back up, then delete a component and an image; return both ids."""
    component, dataset = service.component({"cat": 2}), service.dataset({"cat": 2, "dog": 2}, 20)
    image = image_id(service, dataset, ("cat", 20))
    back_up(service.settings, file)
    delete(service, f"components/{component}")
    delete(service, f"datasets/{dataset}/images/{image}")
    return component, image


def test_a_restore_and_every_deletion_that_it_repeats_have_an_entry(service, printed, tmp_path):
    component, image = deleted_later(service, tmp_path / "backup.tar")
    target = settings_of(tmp_path / "restored")
    old = str(service.settings.data_dir)

    assert run(target, "restore", str(tmp_path / "backup.tar"), "--ledger", old) == 0

    first, *repeated = shown(printed(target))
    receipts = service.client.get("/v1/receipts").json()["data"]
    assert first == ("tangent restore", [each["id"] for each in receipts])
    assert [action for action, _ in repeated] == ["tangent restore"] * 2
    assert [objects[0] for _, objects in repeated] == [component, image]
    assert all(objects[-1].startswith("rcpt_") for _, objects in repeated)


def test_a_move_has_an_entry_in_the_new_database(tmp_path, empty_postgres, printed):
    here = settings_of(tmp_path / "data")
    migrate.upgrade(here)

    assert run(here, "move", "--to", empty_postgres) == 0

    there = settings_of(tmp_path / "data", empty_postgres)
    assert shown(printed(there)) == [("tangent move", [])]


def test_a_migration_of_rows_that_are_there_has_an_entry_and_a_new_database_none(tmp_path, printed):
    settings = settings_of(tmp_path / "data")
    assert run(settings, "migrate") == 0
    assert printed(settings) == []
    migrate.downgrade(settings, migrate.revisions()[1])

    for _ in range(2):  # the second has nothing to do
        assert run(settings, "migrate") == 0

    assert shown(printed(settings)) == [("tangent migrate", [])]


def test_a_key_that_is_revoked_is_named(tmp_path, printed):
    settings = settings_of(tmp_path / "data")
    assert run(settings, "keys", "create", "--name", "a", "--scopes", "read") == 0
    ((_, [key_id]),) = shown(printed(settings))

    assert run(settings, "keys", "revoke", key_id) == 0

    assert shown(printed(settings))[1:] == [("tangent keys revoke", [key_id])]


def test_a_scrub_names_what_it_finds_damaged_and_whole_again(service, printed):
    component, dataset = service.component({"cat": 2}), service.dataset({"dog": 2}, 20)
    files = [file_of(service, f"components/{component}"), file_of(service, f"datasets/{dataset}")]
    entries = [("tangent doctor --scrub", [component]), ("tangent doctor --scrub", [dataset])]

    for file in files:
        flip_bit(file, 8 * file.stat().st_size - 1)
    assert run(service.settings, "doctor", "--scrub") == 1
    assert shown(printed(service.settings)) == entries

    for file in files:
        flip_bit(file, 8 * file.stat().st_size - 1)
    assert run(service.settings, "doctor", "--scrub") == 0
    assert shown(printed(service.settings)) == entries * 2


def file_of(service: Service, folder: str) -> Path:
    (key,) = service.state.blobs.keys(folder)
    return service.state.blobs.path(key)


def test_a_user_without_a_name_is_given_by_a_number(monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: 3_000_000_000)
    assert by_command("tangent move").key_id == "command:3000000000"
