"""Datasets over real HTTP: uploaded, listed, looked at, deleted."""

import hashlib
import io
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image as Picture

from app.database.sessions import transaction
from app.datasets import datasets
from tests.support.archives import KINDS, archive, noise, noise_at, png_header
from tests.support.problems import problem
from tests.support.uploads import FILES, created, post, traces


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_is_answered_with_all_that_it_came_to(shared, kind):
    data = archive(
        FILES | {"pets/cat/notes.txt": b"x", "pets/dog/4.png": FILES["pets/dog/2.png"]}, kind
    )
    answer = post(shared, data, f"pets.{kind}")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{body['id']}"
    assert body["id"].startswith("ds_") and body["created_at"].endswith("Z")
    assert (body["name"], body["num_images"]) == ("pets", 3)
    assert body["labels"] == {"cat": 2, "dog": 1}
    assert (body["duplicates"], body["num_rejected"], body["component"]) == (1, 1, None)
    assert body["rejected"][0]["path"] == "pets/cat/notes.txt"
    assert body["sha256"] == hashlib.sha256(data).hexdigest() and body["bytes"] == len(data)
    shown = shared.client.get(answer.headers["location"]).json()
    of_the_upload = ("component", "duplicate_of")
    assert shown == {key: value for key, value in body.items() if key not in of_the_upload}


def test_the_name_can_be_given(shared):
    assert created(shared, data={"name": "site Berlin"})["name"] == "site Berlin"
    problem(post(shared, archive(FILES), data={"name": "x" * 256}), 422, "invalid_request")


@pytest.mark.parametrize(("name", "title"), [("a/b/scans.tar.gz", "scans"), (".zip", "dataset")])
def test_without_a_name_it_is_the_files(shared, name, title):
    assert post(shared, archive(FILES), name).json()["name"] == title


def test_images_are_the_bytes_of_the_archive(shared):
    dataset = created(shared)["id"]
    page = shared.client.get(f"/v1/datasets/{dataset}/images").json()
    assert page["has_more"] is False and page["next"] is None
    assert [image["path"] for image in page["data"]] == list(FILES)
    for position, image in enumerate(page["data"]):
        assert image["id"] == f"img_{dataset.removeprefix('ds_')}_{position:06d}"
        assert (image["media_type"], image["width"], image["height"]) == ("image/png", 8, 8)
        answer = shared.client.get(f"/v1/datasets/{dataset}/images/{image['id']}")
        assert answer.content == FILES[image["path"]] and len(answer.content) == image["bytes"]
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'


def test_images_are_listed_by_label_a_page_at_a_time(shared):
    dataset = created(shared, noise_at(*(f"{'ab'[i % 2]}/{i}.png" for i in range(7))))["id"]
    found, after = [], None
    while True:
        query = {"label": "a", "limit": 3} | ({"after": after} if after else {})
        page = shared.client.get(f"/v1/datasets/{dataset}/images", params=query).json()
        found += [image["path"] for image in page["data"]]
        after = page["next"]
        assert page["has_more"] is (after is not None)
        if after is None:
            break
    assert found == ["a/0.png", "a/2.png", "a/4.png", "a/6.png"]
    none = shared.client.get(f"/v1/datasets/{dataset}/images", params={"label": "c"}).json()
    assert none == {"data": [], "has_more": False, "next": None}


def test_an_image_has_a_thumbnail_with_an_etag_of_its_own(shared):
    image = noise(size=300, kind="JPEG")
    dataset = created(shared, {"cat/1.jpg": image})["id"]
    path = f"/v1/datasets/{dataset}/images/img_{dataset.removeprefix('ds_')}_000000"
    answer = shared.client.get(path, params={"size": 64})
    assert answer.headers["content-type"] == "image/png"
    assert Picture.open(io.BytesIO(answer.content)).size == (64, 64)
    etag = answer.headers["etag"]
    again = shared.client.get(path, params={"size": 64}, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert shared.client.get(path, headers={"If-None-Match": etag}).status_code == 200
    for size in (7, 2049, "x"):
        problem(shared.client.get(path, params={"size": size}), 422, "invalid_request")


def test_datasets_are_listed_oldest_first_without_their_rejected_files(service):
    ids = [created(service, data={"name": str(number)})["id"] for number in range(3)]
    page = service.client.get("/v1/datasets", params={"limit": 2}).json()
    assert [each["id"] for each in page["data"]] == ids[:2]
    assert page["has_more"] and page["next"] == ids[1]
    rest = service.client.get("/v1/datasets", params={"after": page["next"]}).json()
    assert [each["id"] for each in rest["data"]] == ids[2:] and not rest["has_more"]
    assert "rejected" not in rest["data"][0]


def test_training_can_be_queued_with_the_upload(service):
    body = created(service, data={"train": "true"})
    component = body["component"]
    assert (component["status"], component["dataset_id"]) == ("queued", body["id"])
    assert component["labels"] == ["cat", "dog"] and component["name"] == "pets"
    assert service.client.get(f"/v1/components/{component['id']}").json() == component


def test_the_same_key_uploads_once(service):
    headers = {"Idempotency-Key": "k1"}
    first = created(service, headers=headers, data={"train": "true"})
    before = traces(service)
    again = post(service, archive(FILES), headers=headers, data={"train": "true"})
    assert again.headers["idempotent-replayed"] == "true" and again.json() == first
    other = post(service, archive(noise_at("a/1.png")), headers=headers, data={"train": "true"})
    problem(other, 422, "idempotency_key_reused")
    assert traces(service) == before


def test_unknown_datasets_and_images_are_not_found(shared):
    one, other = created(shared)["id"], created(shared)["id"]
    for path in ("ds_none", "ds_none/images", "ds_none/images/x"):
        problem(shared.client.get(f"/v1/datasets/{path}"), 404, "dataset_not_found")
    foreign = f"img_{other.removeprefix('ds_')}_000000"
    for image in ("img_none", foreign):
        answer = shared.client.get(f"/v1/datasets/{one}/images/{image}")
        problem(answer, 404, "image_not_found")
    problem(shared.client.delete("/v1/datasets/ds_none"), 404, "dataset_not_found")


def test_a_deleted_dataset_is_gone_with_its_receipt(service):
    nothing = traces(service)
    dataset = created(service)["id"]
    image = service.client.get(f"/v1/datasets/{dataset}/images").json()["data"][0]["id"]
    assert traces(service)["blobs"] == [f"datasets/{dataset}/images.pack"]
    receipt = service.client.delete(f"/v1/datasets/{dataset}").json()
    assert receipt["body"]["subject"] == {"kind": "dataset", "id": dataset}
    assert traces(service) == nothing
    for path in ("", "/images", f"/images/{image}"):
        gone = service.client.get(f"/v1/datasets/{dataset}{path}")
        assert problem(gone, 410, "dataset_deleted")["receipt_id"] == receipt["id"]
    problem(service.client.delete(f"/v1/datasets/{dataset}"), 410, "dataset_deleted")


def test_a_dataset_in_use_is_deleted_by_cascade_only(service):
    body = created(service, data={"train": "true"})
    refused = service.client.delete(f"/v1/datasets/{body['id']}")
    assert problem(refused, 409, "dataset_in_use")["components"] == [body["component"]["id"]]
    answer = service.client.delete(f"/v1/datasets/{body['id']}", params={"cascade": "true"})
    assert answer.status_code == 200
    gone = service.client.get(f"/v1/components/{body['component']['id']}")
    problem(gone, 410, "component_deleted")


def test_rows_come_in_an_order_that_the_archive_does_not_change(service):
    turned = dict(reversed(FILES.items()))
    orders = []
    for files in (FILES, turned):
        dataset = created(service, files)["id"]
        with transaction(service.state.sessions) as session:
            rows = datasets.rows(session, dataset)
            stored = datasets.get(session, dataset)
        orders.append([(row.label, row.sha256) for row in rows])
        for row in rows:
            data = datasets.read(service.state.blobs, stored, row)
            assert hashlib.sha256(data).hexdigest() == row.sha256
    assert orders[0] == orders[1] == sorted(orders[0])


def test_a_pixel_bomb_is_one_rejected_file(shared):
    files = FILES | {"pets/cat/bomb.png": png_header(60_000, 60_000)}
    body = created(shared, files)
    assert body["num_images"] == 3
    assert "60000 × 60000 pixels, more than" in body["rejected"][0]["reason"]


def test_a_zip_that_python_made_with_folders_and_junk_is_understood(shared):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.mkdir("pets/cat")
        for name in ("pets/cat/1.png", "__MACOSX/pets/cat/._1.png", "pets/.DS_Store"):
            target.writestr(name, noise())
    body = post(shared, file.getvalue()).json()
    assert (body["labels"], body["rejected"]) == ({"cat": 1}, [])


def test_a_slow_disk_keeps_no_other_writer_waiting(service, monkeypatch):
    """The files of an upload are on the disk before its transaction begins."""
    dataset = service.dataset({"cat": 2})
    slow, go_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def wait(number: int) -> None:
        slow.set()
        assert go_on.wait(60)
        fsync(number)

    monkeypatch.setattr("app.files.blobs.os.fsync", wait)
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(service.dataset, {"dog": 2}, 10)
        try:
            assert slow.wait(60)
            assert service.queued(dataset)  # else 503 database_busy
        finally:
            go_on.set()
        assert upload.result()
