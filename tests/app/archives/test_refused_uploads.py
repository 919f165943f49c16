"""A refused upload is told why, with a stable code, and leaves no file and no row."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from app.datasets import datasets, image_rows
from app.settings import Settings
from app.unlearning import cleanup
from tests.support.archives import archive, noise_at, tar_header, tar_member, zip_of, zip_with
from tests.support.problems import problem
from tests.support.service import KEY_FREE, running
from tests.support.uploads import FILES, post, traces

BOMB = zip_of((f"{i}.png", bytes(2**23)) for i in range(10))


REFUSED = {
    "not_an_archive": (415, b"hello"),
    "archive_truncated": (400, archive(FILES)[:-30]),
    "archive_damaged": (400, archive(FILES, "stored.zip").replace(b"IDAT", b"IDAX", 1)),
    "archive_encrypted": (422, zip_with(flags=1)),
    "archive_link": (422, tar_member("cat/1.png", b"2", "/etc/passwd")),
    "archive_device": (422, tar_member("cat/1.png", b"3")),
    "archive_method": (415, zip_with(method=12)),
    "unsafe_path": (422, archive(FILES | {"../../evil.png": b"x"})),
    "path_too_long": (422, archive({"x" * 2000: b""})),
    "duplicate_path": (422, archive(FILES | {"./pets/cat/1.png": b"x"}, "tar")),
    "header_too_large": (413, tar_header(b"x", 2**33, b"L") + bytes(1024)),
    "archive_bomb": (413, BOMB),
    "no_images": (422, archive({"cat/1.txt": b"x"})),
    "no_labels": (422, archive(noise_at("1.png"))),
    "ambiguous_layout": (422, archive(noise_at("a/1.png", "a/b/2.png"))),
    "manifest_malformed": (422, archive(FILES | {"metadata.csv": b"a,b\n1,2\n"})),
    "too_many_labels": (413, archive(noise_at(*(f"{i}/1.png" for i in range(7))))),
    "too_many_images": (413, archive(noise_at(*(f"a/{i}.png" for i in range(51))))),
    "too_many_entries": (413, zip_of((f"{i}/", b"") for i in range(1200))),
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory, migrated):
    """A service with small limits, in which nothing is ever accepted."""
    folder = tmp_path_factory.mktemp("strict") / "data"
    shutil.copytree(migrated, folder)
    limits = {"max_labels": 6, "max_dataset_images": 50, "max_upload_bytes": 2**20}
    with running(Settings(data_dir=folder, device="cpu", threads=1, **limits, **KEY_FREE)) as made:
        yield made


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_upload_is_told_why_and_leaves_nothing(strict, code):
    status, data = REFUSED[code]
    before = traces(strict)
    for fields in ({}, {"train": "true"}):
        problem(post(strict, data, data=fields, headers={"Idempotency-Key": "k"}), status, code)
        assert traces(strict) == before
    assert before["blobs"] == before["scratch"] == before["folders"] == []
    assert before["dataset"] == before["image"] == before["idempotency_key"] == 0


def test_an_archive_over_the_size_limit_is_refused(strict):
    problem(post(strict, bytes(2**20 + 1)), 413, "archive_too_large")
    problem(post(strict, bytes(2**20 + 2**17)), 413, "request_too_large")
    assert traces(strict)["scratch"] == []


def test_a_request_that_is_no_upload_is_told_what_to_send(strict):
    client = strict.client
    zipped = {"Content-Type": "application/zip"}
    answer = client.post("/v1/datasets", content=archive(FILES), headers=zipped)
    assert "file=@" in problem(answer, 415, "unsupported_media_type")["detail"]
    problem(client.post("/v1/datasets", json={"a": 1}), 415, "unsupported_media_type")
    problem(client.post("/v1/datasets"), 415, "unsupported_media_type")
    for files in ({"archive": b"x"}, {"file": (None, "text")}):
        answer = client.post("/v1/datasets", files=files)
        pointer = problem(answer, 422, "invalid_request")["errors"][0]["pointer"]
        assert [pointer] == [f"/{name}" for name in files]
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/datasets", content=b"--y\r\nrubbish", headers=broken)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_space_is_told_before_the_archive_is_read(strict):
    problem(post(strict, b"hello", data={"space": "nowhere"}), 404, "space_not_found")


def test_a_failed_commit_leaves_no_file(service):
    def fail(_session):
        raise RuntimeError("the commit fails")

    session = service.state.sessions.class_
    event.listen(session, "before_commit", fail)
    try:
        problem(post(service, archive(FILES)), 500, "internal_error")
    finally:
        event.remove(session, "before_commit", fail)
    found = traces(service)
    assert (found["dataset"], found["blobs"], found["scratch"]) == (0, [], [])


def test_an_upload_that_a_kill_cut_short_is_cleared_away_later(service):
    """By the next start of an API, when it can be no upload under way any more."""
    state = service.state
    old, young = (state.blobs.scratch_path(datasets.SCRATCH) for _ in range(2))
    for path in (old, young):
        path.write_bytes(b"half a pack")
    os.utime(old, (0, 0))
    cleanup.recover(state.sessions, state.jobs, state.blobs)
    assert list(state.blobs.scratch.iterdir()) == [young]


def test_a_failed_insert_leaves_no_file(service, monkeypatch):
    monkeypatch.setattr(image_rows, "made", lambda *_: iter([{"id": "x"}]))
    problem(post(service, archive(FILES)), 500, "internal_error")
    found = traces(service)
    assert (found["dataset"], found["blobs"], found["folders"]) == (0, [], [])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", tar_header(b"a", 3)]), st.binary())
def test_random_bytes_are_a_4xx_problem(strict, head, tail):
    answer = post(strict, head + tail)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
