"""What another process removes while files are listed, stored and deleted is passed over."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.files.blobs import LocalBlobs
from app.files.quarantine import Quarantine


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def put(blobs: LocalBlobs, *keys: str) -> None:
    for key in keys:
        path = blobs.scratch_path("test")
        path.write_bytes(b"x")
        blobs.put(path, key)


def without(real: Callable, name: str) -> Callable:
    """Return `os.scandir` that finds the folder of this name gone, which was listed before."""

    def scandir(path):
        if Path(path).name == name and Path(path).is_dir():
            for each in os.listdir(path):
                os.unlink(Path(path, each))
            os.rmdir(path)
        return real(path)

    return scandir


def test_a_folder_that_vanishes_while_blobs_are_listed_is_passed_over(blobs, monkeypatch):
    put(blobs, "kept/1", "gone/1", "kept/2")
    monkeypatch.setattr(os, "scandir", without(os.scandir, "gone"))
    assert list(blobs.keys()) == ["kept/1", "kept/2"]


def test_a_folder_that_vanishes_from_the_quarantine_is_passed_over(blobs, monkeypatch):
    quarantine = Quarantine(blobs)
    put(blobs, "kept/1", "gone/1")
    assert quarantine.take("kept/1") and quarantine.take("gone/1")
    monkeypatch.setattr(os, "scandir", without(os.scandir, "gone"))
    assert list(quarantine.keys()) == ["kept/1"]


def test_a_disk_that_cannot_be_read_is_not_taken_for_an_empty_folder(blobs, monkeypatch):
    def scandir(_):
        raise OSError(errno.EIO, "Input/output error")

    put(blobs, "a/1")
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(OSError, match="Input/output error"):
        list(blobs.keys())


def test_a_file_gets_its_place_although_its_empty_folder_is_removed_before(blobs, monkeypatch):
    real, removed = os.replace, []

    def replace(source: Path, target: Path) -> None:
        if not removed:
            removed.append(target.parent)
            os.rmdir(target.parent)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    put(blobs, "a/1")

    assert removed and list(blobs.keys()) == ["a/1"]


def test_a_file_that_is_not_there_cannot_be_stored(blobs, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        blobs.put(tmp_path / "nothing", "a/1")


def test_a_folder_that_gets_another_file_while_one_is_deleted_stays(blobs, monkeypatch):
    put(blobs, "a/1")
    real = Path.rmdir

    def rmdir(path: Path) -> None:
        (path / "2").write_bytes(b"y")
        real(path)

    monkeypatch.setattr(Path, "rmdir", rmdir)

    assert blobs.delete("a/1") == 1
    assert list(blobs.keys()) == ["a/2"]


def test_a_file_that_another_process_deletes_first_frees_nothing(blobs, monkeypatch):
    put(blobs, "a/1")
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        real(path)
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)

    assert blobs.delete("a/1") == 0
