"""A data folder and a database belong together; of a pair that does not, nothing is touched."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.database import migrate
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import DatabaseIdentity
from app.files import folder_identity, sweep
from app.files.folder_identity import FILE, claim
from app.settings import BadSettings, Settings
from tests.support.command import environment, tangent
from tests.support.service import KEY_FREE, Service, running


def settings_of(folder: Path, url: str | None = None) -> Settings:
    return Settings(**KEY_FREE | {"data_dir": folder, "database_url": url})


def made(folder: Path, url: str | None = None) -> Settings:
    """Return settings of a migrated database and a folder, neither of which is marked."""
    settings = settings_of(folder, url)
    migrate.upgrade(settings)
    return settings


def used(serve: Callable[..., Service], folder: Path, migrated: Path) -> dict[str, bytes]:
    """Use the folder with SQLite and make its blobs old; return all its files."""
    shutil.copytree(migrated, folder)
    with running(settings_of(folder)) as service:
        service.component({"cat": 3})
    hours = time.time() - 2 * sweep.UNCLAIMED_SECONDS
    for path in (folder / "blobs").rglob("*"):
        os.utime(path, (hours, hours))
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def blobs(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith("blobs/")}


def unmark(folder: Path, url: str | None = None) -> None:
    """Remove the ids from folder and database, as before there were ids."""
    (folder / FILE).unlink(missing_ok=True)
    engine = open_engine(settings_of(folder, url))
    with transaction(session_factory(engine)) as session:
        for row in session.query(DatabaseIdentity):
            session.delete(row)
    engine.dispose()


def own(settings: Settings) -> str:
    engine = open_engine(settings)
    with transaction(session_factory(engine)) as session:
        (row,) = session.query(DatabaseIdentity)
    engine.dispose()
    return row.id


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("tables", ["none", "migrated"])
def test_no_command_takes_a_used_folder_to_an_empty_database(
    tmp_path, migrated, serve, empty_postgres, marked, tables
):
    folder = tmp_path / "data"
    before = used(serve, folder, migrated)
    assert len(blobs(before)) == 2
    if not marked:
        unmark(folder)
        before = contents(folder)
    if tables == "migrated":
        assert tangent("migrate", "--data-dir", folder, database_url=empty_postgres).returncode == 0
        before |= contents(folder)

    for command in ("serve", "worker") if tables == "migrated" else ("serve",):
        more = ("--no-worker", "--port", "0") if command == "serve" else ()
        done = tangent(command, *more, "--data-dir", folder, database_url=empty_postgres)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert str(folder) in done.stderr and empty_postgres.rpartition("/")[2] in done.stderr
        assert "set TANGENT_DATA_DIR and TANGENT_DATABASE_URL to" in done.stderr

    assert contents(folder) == before
    assert migrate.is_empty(settings_of(folder, empty_postgres)) == (tables == "none")


def test_a_folder_whose_sqlite_file_was_lost_is_not_served(tmp_path, migrated, serve):
    folder = tmp_path / "data"
    used(serve, folder, migrated)
    for path in folder.glob("tangent.db*"):
        path.unlink()
    before = contents(folder)

    done = tangent("serve", "--no-worker", "--port", "0", "--data-dir", folder)

    assert done.returncode == 2
    assert "the data folder belongs to another database" in done.stderr
    assert contents(folder) == before
    (folder / FILE).unlink()
    done = tangent("serve", "--no-worker", "--port", "0", "--data-dir", folder)
    assert done.returncode == 2 and "holds files of another database" in done.stderr
    assert blobs(contents(folder)) == blobs(before)


def test_a_folder_of_before_there_were_ids_goes_to_the_database_that_knows_its_files(
    tmp_path, migrated, serve
):
    folder = tmp_path / "data"
    before = used(serve, folder, migrated)
    unmark(folder)

    serve(data_dir=folder)

    assert (folder / FILE).read_text().strip() == own(settings_of(folder))
    assert blobs(contents(folder)) == blobs(before)


def test_a_folder_of_which_only_deleted_subjects_are_left_is_known_too(tmp_path, migrated):
    folder = tmp_path / "data"
    shutil.copytree(migrated, folder)
    with running(settings_of(folder)) as service:
        component_id = service.component({"cat": 3})
        service.client.delete(f"/v1/components/{component_id}")
        dataset_id = service.client.get("/v1/datasets").json()["data"][0]["id"]
        service.client.delete(f"/v1/datasets/{dataset_id}")
    unmark(folder)
    left = folder / "blobs" / "components" / component_id / "late.safetensors"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"x")

    claim(settings_of(folder))

    assert (folder / FILE).is_file()


def test_an_application_started_by_another_server_refuses_too(tmp_path, migrated, serve):
    folder = tmp_path / "data"
    used(serve, folder, migrated)
    (folder / FILE).write_text("another\n")
    before = contents(folder)

    from app.main import create_app, opened

    settings = settings_of(folder)
    with pytest.raises(BadSettings, match="'another', and the database sqlite:"):  # noqa: SIM117
        with opened(create_app(settings), settings):
            raise AssertionError("it was opened")

    assert contents(folder) == before


def test_an_empty_folder_goes_to_the_first_database_that_comes(tmp_path, empty_postgres):
    folder = tmp_path / "data"
    first, second = made(folder, empty_postgres), made(tmp_path / "other")
    claim(first)
    identity = (folder / FILE).read_text().strip()
    assert len(identity) == 32 and identity == own(first)
    claim(first)

    shutil.copy(tmp_path / "other" / "tangent.db", folder / "tangent.db")
    with pytest.raises(BadSettings, match="has no id yet and knows none of its files"):
        claim(settings_of(folder))
    claim(second)
    (folder / FILE).write_text((tmp_path / "other" / FILE).read_text())
    with pytest.raises(BadSettings, match=rf"has the id '{identity}': set TANGENT_DATA_DIR"):
        claim(first)


def test_a_database_does_not_go_on_without_its_files(tmp_path, migrated, serve):
    folder, empty = tmp_path / "data", tmp_path / "empty"
    used(serve, folder, migrated)
    empty.mkdir()
    for path in folder.glob("tangent.db*"):
        shutil.copy(path, empty)

    with pytest.raises(BadSettings, match=rf"{empty} is empty, and the database"):
        claim(settings_of(empty))

    assert not (empty / FILE).exists()
    (empty / FILE).write_text(own(settings_of(folder)))
    claim(settings_of(empty))


def test_a_database_taken_back_a_revision_and_forth_keeps_its_folder(tmp_path, migrated, serve):
    folder = tmp_path / "data"
    used(serve, folder, migrated)
    identity = (folder / FILE).read_text().strip()
    migrate.downgrade(settings_of(folder), "2026_11_24_receipt_signatures")
    migrate.upgrade(settings_of(folder))

    claim(settings_of(folder))

    assert own(settings_of(folder)) == identity == (folder / FILE).read_text().strip()


CLAIMING = """
import sys
from pathlib import Path
from app.settings import BadSettings, Settings
from app.files.folder_identity import claim
settings = Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2] or None)
print("ready", flush=True)
sys.stdin.readline()
try:
    claim(settings)
except BadSettings:
    print("refused")
else:
    print("claimed")
"""


@pytest.mark.parametrize("rivals", [False, True], ids=["one database", "two databases"])
def test_processes_that_start_at_once_agree(tmp_path, empty_postgres, rivals):
    folder = tmp_path / "data"
    made(folder, empty_postgres), made(folder)
    urls = [empty_postgres, "" if rivals else empty_postgres] * 3
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMING, str(folder), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for url in urls
    ]
    assert [process.stdout.readline() for process in started] == ["ready\n"] * 6
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0].strip() for process in started]

    by_url = {url: {each for u, each in zip(urls, said, strict=True) if u == url} for url in urls}
    assert all(len(outcomes) == 1 for outcomes in by_url.values()), said
    assert said.count("claimed") == (3 if rivals else 6)
    winner = next(url for url in by_url if by_url[url] == {"claimed"})
    assert (folder / FILE).read_text().strip() == own(settings_of(folder, winner or None))
    assert [path.name for path in folder.glob(f"{FILE}*")] == [FILE]


@pytest.mark.parametrize("read", ["own_id", "_marked"])
def test_a_process_that_claims_after_another_has_read_an_id_is_agreed_with(
    tmp_path, monkeypatch, read
):
    settings = made(tmp_path / "data")
    reads = getattr(folder_identity, read)

    def read_before_another_claims(subject: object) -> str | None:
        found = reads(subject)
        monkeypatch.setattr(folder_identity, read, reads)
        claim(settings)
        return found

    monkeypatch.setattr(folder_identity, read, read_before_another_claims)
    claim(settings)

    assert (tmp_path / "data" / FILE).read_text().strip() == own(settings)


def test_a_file_system_without_links_is_marked_too(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    settings = made(tmp_path / "data")
    monkeypatch.setattr(folder_identity.os, "link", refuse)

    claim(settings)

    assert (tmp_path / "data" / FILE).read_text().strip() == own(settings)
