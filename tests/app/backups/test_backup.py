"""A backup holds all rows of one moment and their files, and nothing deleted before its end."""

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect

from app.backups import backup, rows, tape
from app.backups.backup import back_up
from app.backups.manifest import BadBackup
from app.backups.restore import restore
from app.cli import main
from app.database import jobs
from app.database.sessions import frozen_view, transaction
from app.files import folder_lock
from app.settings import Settings
from tests.support.client import delete, verify
from tests.support.images import image
from tests.support.service import Service, running
from tests.support.stored import files, fill, seen, settings_of
from tests.support.unlearning import image_id, occurrences

Serve = Callable[..., Service]


@pytest.fixture
def other_kind(either: Service, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty folder and an empty database of the kind that the service has not."""
    on_sqlite = either.settings.database_url is None
    url = request.getfixturevalue("empty_postgres") if on_sqlite else None
    return settings_of(tmp_path / "restored", url)


def test_a_restored_backup_answers_as_the_store_did_when_it_was_made(either, other_kind, tmp_path):
    target = other_kind
    fill(either)
    before, blobs = seen(either), files(either)
    file = tmp_path / "backup.tar"

    manifest = back_up(either.settings, file)
    restored = restore(target, file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.partial")) and not list(either.state.blobs.scratch.iterdir())
    assert manifest.ledger == rows.Head(before["head"]["number"], before["head"]["hash"])
    assert restored.queued == 1
    with running(target) as again:
        assert seen(again) == before
        assert files(again) == blobs
        assert all(verify(again, each)["ok"] for each in before["receipts"]["data"])
        assert list(again.state.jobs._client.list_workflows(queue_name="train"))


def test_the_service_may_go_on_and_a_deletion_meanwhile_is_not_in_the_backup(
    either, tmp_path, monkeypatch
):
    """The deletion comes when the rows have been read and half of the files are copied."""
    made, file = fill(either), tmp_path / "backup.tar"
    put, added = tape.Tape.add, []

    def add(self, name, *arguments):
        added.append(name)
        if len(added) == 2:
            delete(either, f"components/{made.other}")
            gone = image_id(either, made.dataset, ("cat", 2))
            delete(either, f"datasets/{made.dataset}/images/{gone}")
        return put(self, name, *arguments)

    monkeypatch.setattr(tape.Tape, "add", add)
    manifest = back_up(either.settings, file)

    assert manifest.ledger.number == 4
    assert not any(made.other in name for name in manifest.files)
    content = file.read_bytes()
    assert image("cat", 2)[60:] not in content and image("cat", 3)[60:] in content


def test_deletions_wait_for_a_backup_that_was_overtaken_too_often(either, tmp_path, monkeypatch):
    fill(either)
    attempt, began = backup._attempt, []

    def overtaken(*arguments):
        began.append(1)
        return attempt(*arguments) if len(began) == backup.MAX_ATTEMPTS else None

    monkeypatch.setattr(backup, "_attempt", overtaken)
    back_up(either.settings, tmp_path / "backup.tar")

    assert len(began) == backup.MAX_ATTEMPTS


def test_bytes_of_deleted_images_that_are_still_in_a_pack_do_not_come_along(
    service, tmp_path, monkeypatch
):
    made = fill(service)
    gone = image_id(service, made.dataset, ("cat", 2))
    monkeypatch.setattr("app.files.erasure.erase", lambda *_: None)
    delete(service, f"datasets/{made.dataset}/images/{gone}")
    trace = image("cat", 2)[60:]
    assert occurrences(service, trace)

    back_up(service.settings, tmp_path / "backup.tar")

    assert trace not in (tmp_path / "backup.tar").read_bytes()


def test_a_missing_file_is_told_and_the_rest_is_backed_up(service, tmp_path, capsys):
    made = fill(service)
    key = next(service.state.blobs.keys(f"components/{made.other}"))
    service.state.blobs.path(key).unlink()
    capsys.readouterr()

    file, folder = tmp_path / "backup.tar", service.settings.data_dir
    assert main(["backup", str(file), "--data-dir", str(folder)]) == 1
    assert f"{key} is missing or damaged: see `tangent doctor`" in capsys.readouterr().out
    restore(settings_of(tmp_path / "restored"), file)


def test_a_backup_never_takes_another_files_place_and_leaves_nothing_of_a_failed_one(
    service, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "backup.tar"
    back_up(service.settings, file)
    before = file.read_bytes()
    arguments = ["backup", str(file), "--data-dir", str(service.settings.data_dir)]
    capsys.readouterr()
    assert main(arguments) == 2
    assert f"{file} is there already: choose another name" in capsys.readouterr().err
    assert file.read_bytes() == before

    file.unlink()
    monkeypatch.setattr(tape.os, "fsync", _full)
    assert main(arguments) == 2
    assert "was not written: [Errno 28]" in capsys.readouterr().err
    assert list(tmp_path.glob("backup*")) == []


def _full(_number: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_one_flipped_bit_is_found_before_anything_is_acknowledged(service, tmp_path, place):
    fill(service)
    file, folder = tmp_path / "backup.tar", tmp_path / "restored"
    back_up(service.settings, file)
    data = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        members = tar.getmembers()
    member = members[int(place * len(members))]
    data[member.offset_data + member.size // 2] ^= 1
    file.write_bytes(data)

    with pytest.raises(BadBackup, match="use another backup"):
        restore(settings_of(folder), file)

    assert [path.name for path in folder.rglob("*") if path.is_file()] == [folder_lock.FILE]


def test_a_backup_cut_anywhere_is_refused(service, tmp_path):
    file = tmp_path / "backup.tar"
    back_up(service.settings, file)
    data = file.read_bytes()
    with tarfile.open(file) as tar:
        last = tar.getmembers()[-1].offset
    for end in (0, 100, 512, len(data) // 2, last, last + 600):
        file.write_bytes(data[:end])
        with pytest.raises(BadBackup, match=r"cut off|damaged"):
            tape.read(file)


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "blobs/../../evil", "blobs/a/./b", "evil", "blobs/a\nb"]
)
def test_members_that_no_backup_has_are_refused_unwritten(tmp_path, name):
    file = tmp_path / "evil.tar"
    with tarfile.open(file, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))

    with pytest.raises(BadBackup, match="which no backup has"):
        restore(settings_of(tmp_path / "data"), file)

    assert [path.name for path in (tmp_path / "data").rglob("*")] == [folder_lock.FILE]
    assert not (tmp_path / "evil").exists()


def test_a_target_that_is_not_empty_is_refused_in_one_sentence(service, postgres, tmp_path, capsys):
    file = tmp_path / "backup.tar"
    back_up(service.settings, file)
    before = sorted(service.settings.data_dir.rglob("*"))

    assert main(["restore", str(file), "--data-dir", str(service.settings.data_dir)]) == 2
    assert "is not empty, it has" in capsys.readouterr().err
    assert sorted(service.settings.data_dir.rglob("*")) == before

    empty = ["restore", str(file), "--data-dir", str(tmp_path / "new"), "--database-url", postgres]
    assert main(empty) == 0  # tables without rows
    shutil.rmtree(tmp_path / "new")
    assert main(empty) == 2
    assert "is not empty: restore into a new one" in capsys.readouterr().err


def test_the_rows_of_a_backup_are_those_of_one_moment(service, tmp_path):
    """A view that was opened before a write does not see it."""
    sessions = service.state.sessions
    with frozen_view(sessions) as session:
        before = rows.digests(session)
        service.dataset({"cat": 2})
        assert rows.digests(session) == before
    with frozen_view(sessions) as session:
        assert rows.digests(session) != before


def test_only_the_owner_can_read_a_backup_whatever_the_umask(service, tmp_path):
    before = os.umask(0)
    try:
        back_up(service.settings, tmp_path / "backup.tar")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "backup.tar").stat().st_mode) == 0o600


def test_every_table_is_copied_or_stays_behind_on_purpose(service):
    with transaction(service.state.reading) as session:
        there = set(inspect(session.connection()).get_table_names())
        there -= jobs.TABLES | {"alembic_version"}

    assert {table.name for table in rows.TABLES} | rows.LEFT_BEHIND == there
