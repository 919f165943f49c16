"""A backup of a store whose disk fails holds the rest; one that is not as it was read is none."""

import errno
import os
from pathlib import Path

import pytest

from app.backups import rows, tape
from app.backups.restore import restore
from app.cli import main
from tests.support.stored import files, fill, settings_of, sha256

SCOPE = "head"


def break_disk(monkeypatch: pytest.MonkeyPatch, path: Path, place: str, number: int) -> None:
    """Let the medium of this file fail: at its directory, its first or its later bytes."""
    real = getattr(Path, "stat" if place == "stat" else "open")

    def fail(*_: object, **__: object) -> bytes:
        raise OSError(number, os.strerror(number))

    def called(self: Path, *arguments: object, **options: object):
        if self == path and place != "read":
            fail()
        made = real(self, *arguments, **options)
        if self == path:
            made.read = fail
        return made

    monkeypatch.setattr(Path, real.__name__, called)


@pytest.mark.parametrize(
    ("kind", "place", "number"),
    [
        ("components", "read", errno.EIO),
        ("components", "open", errno.EBADMSG),
        ("datasets", "read", errno.EUCLEAN),
        ("datasets", "stat", errno.EIO),
    ],
)
def test_a_file_that_the_disk_does_not_give_back_is_told_and_the_rest_is_backed_up(
    service, tmp_path, monkeypatch, capsys, kind, place, number
):
    made = fill(service)
    id_ = made.other if kind == "components" else made.dataset
    whole = files(service)
    (key,) = (each for each in whole if each.startswith(f"{kind}/{id_}/"))
    break_disk(monkeypatch, service.state.blobs.path(key), place, number)
    capsys.readouterr()

    file, target = tmp_path / "backup.tar", settings_of(tmp_path / "restored")
    assert main(["backup", str(file), "--data-dir", str(service.settings.data_dir)]) == 1

    assert f"{key} is missing or damaged: see `tangent doctor`" in capsys.readouterr().out
    restore(target, file)
    blobs = target.data_dir / "blobs"
    there = [path for path in blobs.rglob("*") if path.is_file()]
    kept = {str(path.relative_to(blobs)): sha256(path.read_bytes()) for path in there}
    assert kept == {each: hashed for each, hashed in whole.items() if each != key}


def test_a_backup_that_does_not_read_back_is_told_and_removed(
    service, tmp_path, monkeypatch, capsys
):
    finish = tape.Tape.finish

    def spoilt(self, manifest):
        finish(self, manifest)
        self._file.seek(600)
        self._file.write(b"?")
        self._file.flush()

    monkeypatch.setattr(tape.Tape, "finish", spoilt)
    arguments = ["backup", str(tmp_path / "b.tar"), "--data-dir", str(service.settings.data_dir)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "does not read back (tangent.db is not as it was backed up): try again" in said
    assert not list(tmp_path.glob("b.tar*"))


def test_rows_that_are_not_copied_as_they_are_make_no_backup(
    service, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(rows, "copy", lambda *_: None)
    arguments = ["backup", str(tmp_path / "b.tar"), "--data-dir", str(service.settings.data_dir)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "b.tar was not written: the copy differs in space: look at `tangent doctor`" in said
    assert not list(tmp_path.glob("b.tar*"))
