"""The data folder is closed to other users, what lies in it and what comes to it."""

import os
import stat
import subprocess
import sys
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

from app import cli
from app.files import private_folder
from tests.support.service import Service

SCOPE = "head"


def open_to_others(folder: Path) -> list[Path]:
    every = (folder, *folder.rglob("*"))
    return [path for path in every if path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]


def test_a_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "blobs" / "x").mkdir(parents=True)
    (folder / "blobs" / "x" / "pack").write_bytes(b"image")
    outside = tmp_path / "outside"
    outside.write_text("of somebody else")
    outside.chmod(0o644)
    (folder / "link").symlink_to(outside)
    folder.chmod(0o755)

    private_folder.close(folder)

    assert [path.name for path in open_to_others(folder)] == ["link"]
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert os.access(folder / "blobs" / "x" / "pack", os.R_OK)


def test_what_is_not_of_the_service_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos").chmod(0o755)  # whatever mask the tests before have left
    for path in (tmp_path / "tangent.db", tmp_path / "photos" / "cat.png", tmp_path / "notes"):
        path.touch()
        path.chmod(0o644)
    tmp_path.chmod(0o755)

    private_folder.close(tmp_path)

    left = {path.name for path in open_to_others(tmp_path)}
    assert left == {"photos", "cat.png", "notes"}


def test_whatever_a_service_makes_in_its_folder_is_known_as_its_own(service: Service) -> None:
    service.component({"cat": 2, "dog": 2})
    made = {path.name for path in service.settings.data_dir.iterdir()}
    assert len(made) > 2
    assert [
        name for name in made if not any(map(partial(fnmatch, name), private_folder.OURS))
    ] == []


@pytest.mark.parametrize(
    "command",
    [
        *(["demo", "--url", "http://127.0.0.1:1"], ["audit"], ["keys", "list"], ["doctor"]),
        *(["backup", "x.tar"], ["export-receipts", "x.jsonl"], ["spaces", "list"], ["worker"]),
        *(["restore", "x.tar"], ["move", "--to", "sqlite"], ["verify-components"]),
    ],
    ids=" ".join,
)
def test_a_command_leaves_a_folder_of_somebody_else_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TANGENT_DATABASE_URL", raising=False)
    folder = tmp_path / "data"
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "cat.png").touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)

    cli.main(command)

    left = {path.name for path in open_to_others(folder)}
    assert left == {"data", "blobs", "cat.png"}


def test_a_service_that_is_refused_leaves_the_folder_of_another_database(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "database-id").write_text("of another\n")
    for path in (folder, folder / "database-id"):
        path.chmod(0o755)
    monkeypatch.setenv("TANGENT_DATABASE_URL", empty_postgres)

    assert cli.main(["serve", "--no-worker", "--port", "0", "--data-dir", str(folder)]) == 2
    assert folder in open_to_others(folder)


def test_what_belongs_to_others_is_told_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)

    def refuse(*_, **__):
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "chmod", refuse)
    private_folder.close(tmp_path)
    assert "chmod -R go=" in caplog.text and str(tmp_path) in caplog.text


def test_a_missing_folder_is_left_to_who_makes_it(tmp_path: Path) -> None:
    private_folder.close(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_command_makes_files_for_its_user_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.cli", "migrate", "--data-dir", str(tmp_path / "data")]
    subprocess.run(command, check=True, capture_output=True, umask=0o002)
    assert (tmp_path / "data" / "tangent.db").exists()
    assert open_to_others(tmp_path / "data") == []


def test_a_service_closes_the_folder_that_it_opens(service: Service) -> None:
    assert stat.S_IMODE(service.settings.data_dir.stat().st_mode) & 0o077 == 0
