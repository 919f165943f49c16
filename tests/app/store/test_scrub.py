"""The scrub finds damage in files that nobody reads, and what is whole again, while all goes on."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from app.cli import main
from app.database.sessions import transaction
from app.database.tables import Scrub
from app.files.paced_files import Pace
from app.store import scrub_turns
from app.store.scrub import FolderAway, Read, scrub
from tests.support.client import WAIT, delete, predict, verify
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.unlearning import image_id
from tests.support.workers import until
from training_worker.scrubbing import Scrubbing

SCOPE = "head"


def read_all(service: Service, after: str = "", pace: Pace | None = None) -> list[Read]:
    state = service.state
    return list(scrub(state.sessions, state.blobs, pace or Pace(), after=after))


def changes(service: Service) -> dict[str, tuple[int, int]]:
    """Scrub once; return what it has changed, by noun: newly damaged, and whole again."""
    found = read_all(service)
    return {read.position: (read.damaged, read.whole) for read in found if read[1:] != (0, 0)}


def path_of(service: Service, folder: str) -> Path:
    (key,) = service.state.blobs.keys(folder)
    return service.state.blobs.path(key)


def read_keys(service: Service) -> list[str]:
    return [*service.state.blobs.keys("components"), *service.state.blobs.keys("datasets")]


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def shown(service: Service, path: str) -> dict:
    answer = service.client.get(f"/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


CHANGES: dict[str, Callable[[Path], None]] = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_component_file_that_nobody_reads_fails_its_component_until_it_is_put_back(service, how):
    good, bad = service.component({"cat": 4}), service.component({"dog": 4})
    path = path_of(service, f"components/{bad}")
    content = path.read_bytes()
    CHANGES[how](path)

    assert changes(service) == {f"components/{bad}": (1, 0)}

    row = shown(service, f"components/{bad}")
    assert (row["status"], row["error"]["code"]) == ("failed", "component_damaged")
    assert [part["id"] for part in predict(service).json()["components"]] == [good]
    ready = service.client.get("/readyz").json()
    assert (ready["status"], ready["damaged"]) == ("ok", {"components": 1, "images": 0, "rows": 0})
    assert changes(service) == {}
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert changes(service) == {f"components/{bad}": (0, 1)}
    assert shown(service, f"components/{bad}")["status"] == "ready"
    assert [part["id"] for part in predict(service).json()["components"]] == [good, bad]
    assert service.client.get("/readyz").json()["damaged"] == {
        "components": 0,
        "images": 0,
        "rows": 0,
    }


@pytest.mark.parametrize(("how", "damaged"), [("flipped", 1), ("cut", 1), ("missing", 5)])
def test_damaged_images_are_marked_and_told_until_the_pack_is_put_back(
    service, capsys, how, damaged
):
    dataset_id = service.dataset({"cat": 3, "dog": 2})
    path = path_of(service, f"datasets/{dataset_id}")
    content = path.read_bytes()
    CHANGES[how](path)

    assert changes(service) == {f"datasets/{dataset_id}": (damaged, 0)}

    images = shown(service, f"datasets/{dataset_id}/images")["data"]
    assert [image["damaged"] for image in images].count(True) == damaged
    assert images[-1]["damaged"]
    assert shown(service, f"datasets/{dataset_id}")["damaged_images"] == damaged
    assert shown(service, "datasets")["data"][0]["damaged_images"] == damaged
    text = service.client.get("/metrics").text
    assert f'tangent_damaged{{kind="images"}} {damaged}.0' in text
    main(["doctor", "--data-dir", str(service.settings.data_dir)])
    said = f"{damaged} of 5 images of dataset {dataset_id} are damaged: put the pack back from"
    told = f"datasets/{dataset_id}/images.pack is missing" if how == "missing" else said
    assert told in capsys.readouterr().out
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert changes(service) == {f"datasets/{dataset_id}": (0, damaged)}
    assert shown(service, f"datasets/{dataset_id}")["damaged_images"] == 0


def test_a_damaged_image_that_is_deleted_counts_no_more(service):
    dataset_id = service.dataset({"cat": 3, "dog": 2})
    flip(path_of(service, f"datasets/{dataset_id}"))
    last = shown(service, f"datasets/{dataset_id}/images")["data"][-1]["id"]
    read_all(service)

    delete(service, f"datasets/{dataset_id}/images/{last}")

    assert shown(service, f"datasets/{dataset_id}")["damaged_images"] == 0
    assert changes(service) == {}


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_client_that_meets_a_damaged_image_has_it_marked(service, how):
    part = service.component({"cat": 3, "dog": 2})
    dataset_id = shown(service, f"components/{part}")["dataset_id"]
    CHANGES[how](path_of(service, f"datasets/{dataset_id}"))
    last = shown(service, f"datasets/{dataset_id}/images")["data"][-1]

    problem(
        service.client.get(f"/v1/datasets/{dataset_id}/images/{last['id']}"), 503, "image_damaged"
    )

    assert shown(service, f"datasets/{dataset_id}/images")["data"][-1] == last | {"damaged": True}
    assert shown(service, f"datasets/{dataset_id}")["damaged_images"] == 1


@pytest.mark.parametrize("asked", ["evaluation", "preview"])
def test_an_evaluation_or_a_preview_that_meets_a_damaged_image_says_so_and_marks_it(service, asked):
    part = service.component({"cat": 3, "dog": 2})
    dataset_id = shown(service, f"components/{part}")["dataset_id"]
    flip(path_of(service, f"datasets/{dataset_id}"))

    if asked == "evaluation":
        body = {"dataset_id": dataset_id}
        answer = service.client.post("/v1/evaluations", json=body, headers=WAIT)
        assert (answer.status_code, answer.json()["status"]) == (201, "failed")
        assert answer.json()["error"]["code"] == "image_damaged"
    else:
        path = f"/v1/components/{part}/deletion-preview"
        answer = service.client.get(path, params={"dataset_id": dataset_id})
        problem(answer, 503, "image_damaged")

    assert shown(service, f"datasets/{dataset_id}")["damaged_images"] == 1


def test_what_is_deleted_while_it_is_read_is_not_damaged_and_waits_for_nothing(service):
    first, part = service.component({"hen": 4}), service.component({"cat": 4})
    dataset_id = shown(service, f"components/{part}")["dataset_id"]
    image = image_id(service, dataset_id, ("cat", 1))
    deleted: list[str] = []

    def rest(_: float) -> None:
        """Delete what is being read, in the middle of the reading."""
        if not deleted:
            deleted.append(delete(service, f"components/{first}")["id"])
        elif len(deleted) == 1 and reading and reading[-1].position.startswith("components"):
            deleted.append(delete(service, f"datasets/{dataset_id}/images/{image}")["id"])

    reading: list[Read] = []
    state = service.state
    for read in scrub(state.sessions, state.blobs, Pace(1000, rest)):
        reading.append(read)

    assert len(deleted) == 2
    assert all(read[1:] == (0, 0) for read in reading)
    assert all(verify(service, {"id": each})["ok"] for each in deleted)


def test_a_folder_that_is_away_is_no_damage(service):
    part, root = service.component({"cat": 4}), service.state.blobs.root
    root.rename(root.with_name("away"))
    try:
        with pytest.raises(FolderAway, match="mount it"):
            read_all(service)
    finally:
        root.with_name("away").rename(root)
    assert shown(service, f"components/{part}")["status"] == "ready"


def test_a_scrub_goes_on_from_where_it_was(service):
    parts = sorted(service.component({label: 3}) for label in ("cat", "dog"))
    every = [read.position for read in read_all(service)]

    assert every[:2] == [f"components/{part}" for part in parts]
    assert len(every) == 4
    for number, position in enumerate(every):
        assert [read.position for read in read_all(service, position)] == every[number + 1 :]


def test_the_reading_rests_so_that_it_keeps_to_its_rate(service):
    service.component({"cat": 4})
    rests: list[float] = []
    pace = Pace(1000, rests.append)

    read_all(service, pace=pace)

    files = [service.state.blobs.path(key) for key in read_keys(service)]
    stored = sum(path.stat().st_size for path in files)
    assert pace.bytes == stored
    # Nobody has waited, so each rest is what remains of all of them.
    assert stored / 1000 - 60 < rests[-1] <= stored / 1000 + 1
    assert max(new - old for old, new in pairwise(rests)) <= 1


def test_of_two_holders_one_reads_and_the_other_goes_on_where_it_ends(either):
    sessions, day = either.state.sessions, 86400.0

    def take(holder: str) -> str | None:
        with transaction(sessions) as session:
            return scrub_turns.take(session, holder, period=day)

    def change(what: Callable, *arguments: str):
        with transaction(sessions) as session:
            return what(session, *arguments)

    assert take("a") == ""
    assert change(scrub_turns.keep, "a", "components/cmp_1")
    assert take("b") is None
    change(scrub_turns.leave, "a")
    assert take("b") == "components/cmp_1"
    assert not change(scrub_turns.keep, "a", "components/cmp_2")
    with transaction(sessions) as session:  # b dies
        session.get_one(Scrub, 1).expires_at -= timedelta(seconds=2 * scrub_turns.LEASE_SECONDS)
    assert take("a") == "components/cmp_1"
    change(scrub_turns.finish, "a")
    assert take("b") is None
    with transaction(sessions) as session:
        row = session.get_one(Scrub, 1)
        assert row.finished_at is not None
        row.began_at -= timedelta(seconds=day)
    assert take("b") == ""


def test_a_worker_scrubs_in_the_background_again_and_again(serve):
    service = serve(scrub_period_seconds=0.05)
    part = service.component({"cat": 4})
    path = path_of(service, f"components/{part}")
    scrubbing = Scrubbing(service.settings, "worker-1")
    scrubbing.start()
    try:
        until(lambda: service.client.get("/readyz").json()["scrubbed_at"])
        content = path.read_bytes()
        flip(path)
        until(lambda: shown(service, f"components/{part}")["status"] == "failed")
        path.write_bytes(content)
        until(lambda: shown(service, f"components/{part}")["status"] == "ready")
    finally:
        scrubbing.stop()
    text = service.client.get("/metrics").text
    assert "tangent_scrub_finished_timestamp_seconds 1." in text


def test_the_doctor_reads_every_file_once_and_tells_the_damage(service, capsys):
    part = service.component({"cat": 4})
    dataset_id = shown(service, f"components/{part}")["dataset_id"]
    flip(path_of(service, f"components/{part}"))
    flip(path_of(service, f"datasets/{dataset_id}"))

    status = main(["doctor", "--scrub", "--data-dir", str(service.settings.data_dir)])

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert lines[:2] == [
        f"components/{part}: 1 newly found damaged",
        f"datasets/{dataset_id}: 1 newly found damaged",
    ]
    assert lines[2].endswith("bytes were read")
    assert any(line.startswith(f"component {part} does not answer") for line in lines)
    assert any(f"1 of 4 images of dataset {dataset_id} are damaged" in line for line in lines)
