"""The doctor finds what does not fit together, names a remedy, and does what needs no decision."""

import os
import shutil
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from app.cli import doctor, main
from app.database import migrate
from app.database.sessions import transaction
from app.database.tables import Receipt, ReceiptNode
from app.files.sweep import UNCLAIMED_SECONDS
from app.settings import BadSettings, Settings
from tests.support.client import delete
from tests.support.service import KEY_FREE, Service


@pytest.fixture(autouse=True)
def room(monkeypatch):
    """Whatever room this machine has."""
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 0)


def written(path: Path, content: bytes = b"x") -> Path:
    """Write an old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then = time.time() - 2 * UNCLAIMED_SECONDS
    os.utime(path, (then, then))
    return path


def said(
    service: Service, capsys: pytest.CaptureFixture[str], *flags: str
) -> tuple[int, list[str]]:
    """Return the command's status and lines."""
    capsys.readouterr()
    arguments = ["doctor", *flags, "--data-dir", str(service.settings.data_dir)]
    return main(arguments), capsys.readouterr().out.splitlines()


def pack_of(service: Service, dataset_id: str) -> Path:
    return service.settings.data_dir / "blobs" / "datasets" / dataset_id / "images.pack"


def test_it_says_so_if_nothing_is_wrong(service, capsys):
    service.component({"cat": 3})

    assert said(service, capsys) == (0, ["database and files fit together"])


def test_every_finding_is_one_line_with_a_remedy_and_settling_does_what_needs_no_decision(
    service, capsys
):
    component_id = service.component({"cat": 3})
    dataset_id = service.client.get(f"/v1/components/{component_id}").json()["dataset_id"]
    gone = service.queued(dataset_id)
    delete(service, f"components/{gone}")
    folder = service.settings.data_dir
    written(folder / "blobs" / "components" / gone / "late")
    stray = written(folder / "blobs" / "datasets" / "ds_never" / "images.pack")
    left = written(folder / "scratch" / "import-12.partial")
    aside = folder / "quarantine" / "datasets" / dataset_id / "images.pack"
    aside.parent.mkdir(parents=True)
    shutil.move(pack_of(service, dataset_id), aside)

    status, lines = said(service, capsys)

    assert status == 1
    assert lines == [
        f"components/{gone}/late is left of something deleted: `tangent doctor --settle` removes "
        "it",
        "datasets/ds_never/images.pack is known to no row: `tangent doctor --settle` or the next "
        "start moves it to quarantine",
        f"datasets/{dataset_id}/images.pack is in quarantine, and a row names it: `tangent doctor "
        "--settle` brings it back",
        f"{left} is left over from interrupted work: `tangent doctor --settle` removes it",
    ]
    assert stray.exists() and left.exists()

    status, lines = said(service, capsys, "--settle")

    held = folder / "quarantine" / "datasets" / "ds_never" / "images.pack"
    assert status == 1
    assert lines[-1] == (
        f"{held} is known to no row: start with the database that knows it, or `tangent doctor "
        "--remove datasets/ds_never/images.pack`"
    )
    assert len(lines) == 5
    assert held.read_bytes() == b"x" and pack_of(service, dataset_id).is_file()
    status, lines = said(service, capsys, "--remove", "datasets/ds_never")
    assert (status, lines[0]) == (
        0,
        "datasets/ds_never/images.pack was removed from quarantine",
    )
    assert not held.exists()


def test_lost_and_shortened_files_are_named_with_the_way_out(service, capsys):
    first, second = service.component({"cat": 3}), service.dataset({"dog": 3})
    key = next(service.state.blobs.keys("components"))
    path = service.state.blobs.path(key)
    wanted = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    pack_of(service, second).unlink()

    assert said(service, capsys) == (
        1,
        [
            f"datasets/{second}/images.pack is missing, and a row names it: put it back from a "
            f"backup, or DELETE /v1/datasets/{second}?cascade=true",
            f"{key} has {wanted - 1} bytes instead of {wanted}: put it back from a backup, or "
            f"DELETE /v1/components/{first}",
        ],
    )


def test_a_broken_ledger_and_a_full_disk_are_found(service, capsys, monkeypatch):
    delete(service, f"components/{service.component({'cat': 3})}")
    with transaction(service.state.sessions) as session:
        session.execute(update(Receipt).values(body={"version": 2}))
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**62)

    status, (disk, broken) = said(service, capsys)

    assert status == 1
    assert "bytes left: make room" in disk
    assert broken.startswith("receipt 1 breaks the ledger's chain: compare with saved receipts")


def test_a_tree_that_is_not_the_receipts_is_found(service, capsys):
    delete(service, f"components/{service.component({'cat': 3})}")
    with transaction(service.state.sessions) as session:
        session.execute(update(ReceiptNode).values(hash="ab" * 32))

    status, (found,) = said(service, capsys)

    assert status == 1
    assert found.startswith("the tree over the receipts is not theirs")


def test_scratch_of_work_under_way_is_no_finding(service, capsys):
    queued = service.queued(service.dataset({"cat": 3}))
    scratch = service.settings.data_dir / "scratch"
    written(scratch / f"{queued}-12" / "delta")
    os.utime(scratch / f"{queued}-12", (0, 0))
    (scratch / "upload-13").write_bytes(b"x")

    assert said(service, capsys)[0] == 0


def test_a_foreign_database_is_a_finding_and_nothing_is_settled(service, tmp_path, capsys):
    service.dataset({"cat": 3})
    other = Settings(**KEY_FREE | {"data_dir": tmp_path / "other"})
    migrate.upgrade(other)
    folder = service.settings.data_dir
    shutil.copy(tmp_path / "other" / "tangent.db", tmp_path / "foreign.db")
    mixed = tmp_path / "mixed"
    shutil.copytree(folder / "blobs", mixed / "blobs")
    shutil.copy(folder / "database-id", mixed)
    shutil.copy(tmp_path / "foreign.db", mixed / "tangent.db")
    before = sorted(mixed.rglob("*"))

    assert main(["doctor", "--data-dir", str(mixed)]) == 1
    assert "the data folder belongs to another database" in capsys.readouterr().out
    assert main(["doctor", "--settle", "--data-dir", str(mixed)]) == 2
    assert "the data folder belongs to another database" in capsys.readouterr().err
    assert [path for path in sorted(mixed.rglob("*")) if "tangent.db" not in path.name] == [
        path for path in before if "tangent.db" not in path.name
    ]


def test_settling_passes_over_what_its_owner_has_just_removed(service, monkeypatch):
    gone = service.settings.data_dir / "scratch" / "import-12"
    monkeypatch.setattr(doctor, "_left_over", lambda *_: [gone])
    assert doctor.settle(service.settings) == [f"{gone} was removed"]


def test_a_name_that_is_not_in_quarantine_is_refused(service):
    with pytest.raises(BadSettings, match=r"no file or folder of the quarantine has this name"):
        doctor.remove(service.settings, ["datasets/ds_never"])


def test_an_empty_folder_is_no_store_and_stays_empty(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    assert main(["doctor", "--data-dir", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().out == (
        "the database has no tables: check TANGENT_DATA_DIR and TANGENT_DATABASE_URL\n"
    )
    assert not list((tmp_path / "none").iterdir())


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_folder_that_is_not_there_is_told_first(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**62)
    (tmp_path / "file").write_text("no folder")
    assert main(["doctor", "--data-dir", str(tmp_path / name)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(
        f"there is no folder {tmp_path / name}: name that of the service in TANGENT_DATA_DIR"
    )
    assert out.count("\n") == 1 and not (tmp_path / "none").exists()
