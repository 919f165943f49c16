"""The sweep removes what is proved to be nobody's, and sets aside what no row knows."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.database.sessions import transaction
from app.database.tables import BlobIntent
from app.errors import NotReady
from app.files import intents
from app.files.folder_identity import claim
from app.files.quarantine import Quarantine
from app.files.sweep import UNCLAIMED_SECONDS, sweep
from app.store import components
from tests.support.archives import archive
from tests.support.client import delete, verify
from tests.support.command import environment
from tests.support.service import Service
from tests.support.stored import settings_of
from tests.support.uploads import FILES, created

Serve = Callable[..., Service]


def put(service: Service, key: str, *, old: bool = True) -> None:
    """Let a file lie among the blobs as if a process without intents had written it."""
    blobs = service.state.blobs
    path = blobs.scratch_path("test")
    path.write_bytes(key.encode())
    blobs.put(path, key)
    if old:
        age(blobs.path(key))


def age(*paths: Path) -> None:
    then = time.time() - 2 * UNCLAIMED_SECONDS
    for path in paths:
        os.utime(path, (then, then))


def swept(service: Service) -> set[str]:
    return set(sweep(service.state.sessions, service.state.blobs))


def held(service: Service) -> set[str]:
    return set(Quarantine(service.state.blobs).keys())


def intents_of(service: Service) -> int:
    with transaction(service.state.reading) as session:
        return session.scalar(select(func.count()).select_from(BlobIntent))


def test_files_that_no_row_knows_go_to_the_quarantine_under_their_keys(either, caplog):
    service = either
    dataset_id = service.dataset({"cat": 3})
    ids = {name: service.queued(dataset_id) for name in ("training", "failed", "gone", "ready")}
    with transaction(service.state.sessions) as session:
        for name in ("training", "failed", "ready"):
            components.start(session, ids[name], executor_id="w")
        components.fail(session, ids["failed"], code="x", detail="y")
        values = {"sha256": "s", "bytes": 1, "labels": {"cat": 3}, "metrics": {}}
        components.publish(
            session, ids["ready"], blob_key=f"components/{ids['ready']}/won", **values
        )
    delete(service, f"components/{ids['gone']}")
    kept = {f"components/{ids['ready']}/won", f"datasets/{dataset_id}/images.pack"}
    buried = {f"components/{ids['gone']}/late"}
    unknown = {"components/cmp_never/old", "datasets/ds_never/images.pack", "stray"}
    unknown |= {f"components/{ids[name]}/a" for name in ("training", "failed", "ready")}
    unknown |= {f"datasets/{dataset_id}/another"}
    young = {"components/cmp_coming/x", "datasets/ds_coming/images.pack"}
    for key in (kept | buried | unknown) - {f"datasets/{dataset_id}/images.pack"}:
        put(service, key)
    for key in young:
        put(service, key, old=False)
    age(service.state.blobs.path(f"datasets/{dataset_id}/images.pack"))

    assert swept(service) == buried

    assert held(service) == unknown
    assert set(service.state.blobs.keys()) == kept | young
    folder = service.settings.data_dir / "quarantine"
    assert all((folder / key).read_bytes() == key.encode() for key in unknown)
    lines = [each.getMessage() for each in caplog.records if each.name == "app.files.sweep"]
    assert len(lines) == len(unknown)
    assert all(
        any(line.startswith(f"{key} is known to no row") for line in lines) for key in unknown
    )
    assert swept(service) == set() and held(service) == unknown


def test_the_next_start_loses_nothing_to_an_older_database_and_takes_it_up_again(serve: Serve):
    """The SQLite file of before two uploads comes back, and then the newer one."""
    service = serve()
    folder = service.settings.data_dir
    first = created(service)["id"]
    delete(service, f"components/{service.queued(first)}")  # empties the log into the file
    older, newer = folder.parent / "older.db", folder.parent / "newer.db"
    shutil.copy(folder / "tangent.db", older)
    second = created(service, FILES | {"pets/cow/9.png": FILES["pets/cat/1.png"]})["id"]
    delete(service, f"components/{service.queued(first)}")
    shutil.copy(folder / "tangent.db", newer)
    age(*(path for path in (folder / "blobs").rglob("*") if path.is_file()))
    key = f"datasets/{second}/images.pack"
    pack = service.state.blobs.path(key).read_bytes()

    def restart(database: Path) -> Service:
        for path in folder.glob("tangent.db*"):
            path.unlink()
        shutil.copy(database, folder / "tangent.db")
        return serve(data_dir=folder)

    assert held(restart(older)) == {key}
    again = restart(newer)
    assert held(again) == set()
    assert again.state.blobs.path(key).read_bytes() == pack
    (image, *_) = again.client.get(f"/v1/datasets/{second}/images").json()["data"]
    assert again.client.get(f"/v1/datasets/{second}/images/{image['id']}").status_code == 200


def test_a_deletion_takes_quarantined_files_of_its_subject_along(service: Service):
    component_id = service.component({"cat": 3})
    kept, gone = "components/cmp_never/a", f"components/{component_id}/a"
    for key in (kept, gone):
        put(service, key)
    swept(service)
    assert held(service) == {kept, gone}

    receipt = delete(service, f"components/{component_id}")

    assert held(service) == {kept}
    assert verify(service, receipt)["ok"]
    left = service.settings.data_dir / "quarantine" / gone
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    residue = verify(service, receipt)["residue"]
    assert residue == [{"kind": "blobs", "count": 1}]
    swept(service)
    assert held(service) == {kept} and verify(service, receipt)["ok"]


KILLED = """
import io, os, signal, sys
from pathlib import Path
from app.settings import Settings
from app.datasets import datasets
from app.files.blobs import LocalBlobs
from app.database.sessions import open_engine, session_factory, transaction
settings = Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2] or None)
sessions, blobs = session_factory(open_engine(settings)), LocalBlobs(settings.data_dir / "blobs")
with (
    datasets.receive(io.BytesIO(sys.stdin.buffer.read()), blobs, settings) as upload,
    datasets.store_pack(sessions, blobs, upload) as pack,
    transaction(sessions) as session,
):
    datasets.add(session, pack, upload, name="lost")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_an_upload(folder: Path, url: str | None = None) -> None:
    """Kill a process that has stored an upload's file and not yet committed its rows."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), url or ""],
        input=archive(FILES),
        env=environment(),
        cwd=Path(__file__).resolve().parents[3],
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL


def test_the_file_of_an_upload_killed_before_its_commit_is_removed_and_not_set_aside(either):
    service = either
    kill_an_upload(service.settings.data_dir, service.settings.database_url)
    (key,) = service.state.blobs.keys()
    assert intents_of(service) == 1
    assert swept(service) == set()  # its row may still come
    age(service.state.blobs.path(key))

    assert swept(service) == {key}

    assert (list(service.state.blobs.keys()), held(service), intents_of(service)) == ([], set(), 0)


def test_a_start_alone_on_the_folder_removes_it_at_once_and_one_beside_others_waits(
    serve: Serve, migrated: Path, tmp_path: Path
):
    folder = tmp_path / "data"
    shutil.copytree(migrated, folder)
    claim(settings_of(folder))
    kill_an_upload(folder)
    left = folder / "scratch" / "upload-12"
    left.write_bytes(b"half a pack")

    first = serve(data_dir=folder)

    assert (list(first.state.blobs.keys()), held(first), intents_of(first)) == ([], set(), 0)
    assert not left.exists()
    kill_an_upload(folder)
    second = serve(data_dir=folder)
    assert len(list(second.state.blobs.keys())) == 1
    assert intents_of(second) == 1


def test_what_is_stored_leaves_no_intent(either):
    service = either
    component_id = service.component({"cat": 3, "dog": 3})
    delta = service.client.get(f"/v1/components/{component_id}/delta").content
    for key in ("a", "a"):  # the second is answered by what the first one made
        answer = service.client.post(
            "/v1/components/import",
            files={"file": ("a.safetensors", delta)},
            data={"allow_duplicate": "true"},
            headers={"Idempotency-Key": key},
        )
        assert answer.status_code == 201, answer.text
    dataset_id = service.client.get(f"/v1/components/{component_id}").json()["dataset_id"]
    image = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"][0]["id"]
    delete(service, f"datasets/{dataset_id}/images/{image}")

    assert intents_of(service) == 0
    assert len(list(service.state.blobs.keys())) == 3
    assert swept(service) == set() and held(service) == set()


def test_a_row_cannot_name_a_blob_that_was_given_up(service: Service):
    state = service.state
    path = state.blobs.scratch_path("test")
    path.write_bytes(b"x")
    intent = intents.store(state.sessions, state.blobs, path, "components/cmp_slow/x")
    age(state.blobs.path(intent.key))
    assert swept(service) == {intent.key}

    with (
        pytest.raises(NotReady, match="waited so long for its row that it was given up: try again"),
        intent,
        transaction(state.sessions) as session,
    ):
        intent.settle(session)


def test_a_file_given_up_with_its_row_is_removed_although_the_process_died(service: Service):
    state, key = service.state, "components/cmp_replaced/x"
    put(service, key, old=False)
    with transaction(state.sessions) as session:
        intents.give_up(session, state.blobs, key)
        session.info.pop(True)  # dies between the commit and what follows it

    assert list(state.blobs.keys()) == [key]
    assert swept(service) == {key}
    assert intents_of(service) == 0
