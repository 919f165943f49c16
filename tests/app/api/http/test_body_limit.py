"""A body over the limit is refused, however its length is announced, and leaves nothing behind."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep

import httpx
import pytest
from starlette.types import Message

from app.api.http.body_limit import BodyMemory, LimitedBody
from tests.support.images import archive, image
from tests.support.problems import problem
from tests.support.service import Service

LIMIT = 2**16
UPLOAD = 2**20
INNER = {"max_attempts", "max_batch_size", "max_wait_ms"}  # settings that refuse no request


@pytest.fixture
def small(serve: Callable[..., Service]) -> Service:
    return serve(max_request_bytes=LIMIT, max_upload_bytes=UPLOAD, max_prediction_images=3)


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 413, answer.text
    document = answer.json()
    assert document["code"] == "request_too_large"
    assert "GET /v1/limits" in document["detail"]
    assert answer.headers["x-request-id"] == document["request_id"]


def files_below(folder: Path) -> list[str]:
    return [str(path) for path in (folder / "blobs", folder / "scratch") if any(path.iterdir())]


def test_an_announced_body_over_the_limit_is_refused(small: Service) -> None:
    png = {"Content-Type": "image/png"}
    refused(small.client.post("/v1/predictions", content=bytes(LIMIT + 1), headers=png))
    at_limit = small.client.post("/v1/predictions", content=bytes(LIMIT), headers=png)
    assert at_limit.json()["code"] == "no_components"


@pytest.mark.parametrize("media_type", ["image/png", "application/json", "multipart/form-data"])
def test_a_streamed_body_over_the_limit_is_refused(small: Service, media_type: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"--b\r\nContent-Disposition: form-data; name=images; filename=a\r\n\r\n"
        for _ in range(LIMIT // 2**10 + 1):
            yield bytes(2**10)

    headers = {"Content-Type": f"{media_type}; boundary=b"}
    refused(small.client.post("/v1/predictions", content=chunks(), headers=headers))


def test_a_client_that_sends_everything_before_it_reads_is_told(small: Service) -> None:
    body = bytes(64 * LIMIT)  # more than the service reads at once, and than it may keep
    head = f"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    address = small.client.base_url.netloc.decode().split(":")
    for pause in (0.0, 0.3):  # the service has read what came, and has answered, before the rest
        with socket.create_connection(address) as connection:
            connection.sendall(head.encode() + body[:LIMIT])
            sleep(pause)
            connection.sendall(body[LIMIT:])
            sleep(pause)
            answer = b"".join(iter(lambda: connection.recv(2**16), b""))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"}"), "the whole problem"


def test_a_client_that_waits_for_a_word_is_told_at_once(small: Service) -> None:
    address = small.client.base_url.netloc.decode().split(":")
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(
            b"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_the_service_stops_reading_at_the_limit(small: Service) -> None:
    sent = 0
    with socket.create_connection(small.client.base_url.netloc.decode().split(":")) as connection:
        connection.sendall(
            b"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        try:
            while sent < 2**28:
                connection.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")
                sent += 2**16
        except OSError:
            pass  # the service has closed the connection
    assert sent < 2**28


def test_uploads_have_a_limit_of_their_own(small: Service) -> None:
    whole = archive({"cat": 40, "dog": 40})
    assert LIMIT < len(whole) < UPLOAD
    assert small.dataset({"cat": 40, "dog": 40})

    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
        for _ in range(20):
            yield os.urandom(2**16)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused(small.client.post("/v1/datasets", content=chunks(), headers=headers))
    assert len(small.client.get("/v1/datasets").json()["data"]) == 1


def test_images_for_a_dataset_have_the_limit_of_uploads(small: Service) -> None:
    more = archive({"cat": 40, "dog": 40}, 100)
    assert LIMIT < len(more) < UPLOAD
    path = f"/v1/datasets/{small.dataset({'cat': 2})}/images"
    answer = small.client.post(path, files={"file": ("a.zip", more, "application/zip")})
    assert answer.status_code == 200, answer.text
    big = {"file": ("a.zip", os.urandom(2 * UPLOAD), "application/zip")}
    refused(small.client.post(path, files=big))


@pytest.mark.parametrize(
    ("path", "media_type", "is_held"),
    [
        ("/v1/datasets", "multipart/form-data", False),
        ("/v1/datasets/dst_1/images", "multipart/form-data", False),
        ("/v1/batch-predictions/", "multipart/form-data", False),
        ("/v1/components/import", "multipart/form-data", False),
        ("/v1/batch-predictions", "application/json", True),
        ("/v1/datasets/dst_1/images/delete", "application/json", True),
        ("/v1/images/search", "multipart/form-data", True),
    ],
)
def test_bodies_on_the_disk_take_no_memory_and_all_others_do(
    small: Service, path: str, media_type: str, is_held: bool
) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(2**15), "more_body": False}

    headers = [(b"content-type", media_type.encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    memory = BodyMemory()
    asyncio.run(LimitedBody(scope, receive, small.settings, memory).receive())
    assert bool(memory._held.total()) is is_held


def test_a_refused_upload_leaves_no_file(small: Service) -> None:
    big = {"file": ("a.zip", os.urandom(2 * UPLOAD), "application/zip")}
    refused(small.client.post("/v1/datasets", files=big))
    assert files_below(small.settings.data_dir) == []


def test_more_images_than_allowed_are_refused(small: Service) -> None:
    files = [("images", (f"{i}.png", image("cat", i), "image/png")) for i in range(4)]
    answer = small.client.post("/v1/predictions", files=files)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_images")
    assert "4 images, the most is 3" in answer.json()["detail"]


def test_limits_are_shown_as_they_are_set(small: Service) -> None:
    shown = small.client.get("/v1/limits").json()
    assert shown["max_request_bytes"] == LIMIT
    assert shown["max_upload_bytes"] == UPLOAD
    assert shown["max_prediction_images"] == 3
    fields = {name for name in type(small.settings).model_fields if name.startswith("max_")}
    assert set(shown) == (fields | {"max_archive_entries"}) - INNER
    assert shown["max_archive_entries"] == small.settings.max_archive_entries


def test_bodies_in_memory_are_bounded_in_all_and_by_address() -> None:
    memory = BodyMemory(100)
    assert memory.take(50, "a", small=False)
    assert not memory.take(1, "a", small=False), "an address has half"
    assert memory.take(1, "a", small=True)
    assert memory.take(49, "b", small=False)
    assert not memory.take(1, "c", small=False)
    memory.give_back(51, "a")
    assert memory.take(50, "c", small=False)


def test_a_large_body_that_finds_no_memory_is_refused_and_small_ones_are_not(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BodyMemory, "__init__", lambda self: _small_memory(self))
    service, png = serve(), {"Content-Type": "image/png"}
    for _ in range(3):  # a refused body gives back what it took
        answer = service.client.post("/v1/predictions", content=bytes(3 * 2**20), headers=png)
        problem(answer, 503, "bodies_busy")
        assert answer.headers["Retry-After"] == "5"
    for _ in range(5):
        answer = service.client.post("/v1/predictions", content=bytes(2**20), headers=png)
        problem(answer, 409, "no_components")


def _small_memory(memory: BodyMemory) -> None:
    memory._most, memory._held = 2 * 2**20, Counter()
