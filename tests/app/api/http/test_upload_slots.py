"""A limited number of uploads are examined at the same time; others wait, but not for ever."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from app.datasets import datasets
from tests.support.archives import archive
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.uploads import FILES, post, traces


class Slow:
    """Examinations of uploads that last until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside = self.most = 0
        self.go, self._lock, self._received = threading.Event(), threading.Lock(), datasets.receive
        monkeypatch.setattr(datasets, "receive", self._slowly)

    @contextmanager
    def _slowly(self, *given: Any) -> Iterator[Any]:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            assert self.go.wait(60)
            with self._received(*given) as upload:
                yield upload
        finally:
            with self._lock:
                self.inside -= 1

    def wait_for(self, number: int) -> None:
        end = monotonic() + 30
        while self.inside < number and monotonic() < end:
            sleep(0.01)
        assert self.inside == number


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    examinations = Slow(monkeypatch)
    yield examinations
    examinations.go.set()


def uploads(pool: ThreadPoolExecutor, service: Service, number: int) -> list[Future]:
    packed = archive(FILES)
    return [pool.submit(post, service, packed) for _ in range(number)]


def answers(sent: list[Future]) -> list[httpx.Response]:
    return [each.result(60) for each in sent]


@pytest.mark.parametrize("most", [1, 2])
def test_only_so_many_are_examined_at_the_same_time_and_the_others_follow(
    serve: Callable[..., Service], slow: Slow, most: int
) -> None:
    service = serve(max_concurrent_uploads=most)
    service.app.state.upload_slots.patience = 120
    with ThreadPoolExecutor(5) as pool:
        sent = uploads(pool, service, 5)
        slow.wait_for(most)
        sleep(0.3)  # for one more to come in, if it could
        slow.go.set()
        assert {answer.status_code for answer in answers(sent)} == {201}
    assert slow.most == most


def test_one_that_has_waited_too_long_is_refused_and_leaves_nothing(
    serve: Callable[..., Service], slow: Slow
) -> None:
    service = serve(max_concurrent_uploads=1)
    service.app.state.upload_slots.patience = 0.3
    with ThreadPoolExecutor(1) as pool:
        first = uploads(pool, service, 1)
        slow.wait_for(1)
        refused = post(service, archive(FILES))
        document = problem(refused, 503, "uploads_busy")
        assert document["retry_after"] == int(refused.headers["retry-after"]) >= 10
        slow.go.set()
        assert answers(first)[0].status_code == 201
    assert post(service, archive(FILES)).status_code == 201
    found = traces(service)
    assert (found["dataset"], found["scratch"]) == (2, [])


def test_a_refused_upload_gives_its_turn_back(serve: Callable[..., Service]) -> None:
    service = serve(max_concurrent_uploads=1)
    service.app.state.upload_slots.patience = 0.3
    for _ in range(3):
        problem(post(service, b"no archive"), 415, "not_an_archive")
        problem(post(service, archive(FILES), data={"space": "none"}), 404, "space_not_found")
    assert post(service, archive(FILES)).status_code == 201


def test_those_that_wait_keep_nobody_else_waiting(
    serve: Callable[..., Service], slow: Slow
) -> None:
    service = serve(max_concurrent_uploads=1)
    service.app.state.upload_slots.patience = 120
    with ThreadPoolExecutor(60) as pool:  # more than the service has threads
        sent = uploads(pool, service, 60)
        slow.wait_for(1)
        sleep(1)
        began = monotonic()
        assert service.client.get("/v1/datasets").json()["data"] == []
        assert monotonic() - began < 5
        slow.go.set()
        assert {answer.status_code for answer in answers(sent)} == {201}
    assert slow.most == 1


def test_without_a_setting_it_is_two(service: Service) -> None:
    assert service.client.get("/v1/limits").json()["max_concurrent_uploads"] == 2


def test_nothing_of_a_body_is_read_before_its_turn(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies that are sent slowly fill the disk with no more than the bound of them."""
    service = serve(max_concurrent_uploads=1)
    service.app.state.upload_slots.patience = 0.5
    host, port = service.url.removeprefix("http://").split(":")
    head = (
        "POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
        "Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with ExitStack() as stack:
        lines = [
            stack.enter_context(socket.create_connection((host, int(port)), 20)) for _ in range(6)
        ]
        for line in lines:
            line.sendall(head.encode())
        first = sorted(line.recv(12) for line in lines)
        assert first == [b"HTTP/1.1 100"] * 4 + [b"HTTP/1.1 503"] * 2
    end = monotonic() + 20
    while (answer := post(service, archive(FILES))).status_code == 503 and monotonic() < end:
        sleep(0.1)
    assert answer.status_code == 201


def test_a_form_with_two_files_is_refused(service: Service) -> None:
    files = [("file", (f"{n}.zip", archive(FILES), "application/zip")) for n in "ab"]
    for path in ("/v1/datasets", "/v1/components/import"):
        document = problem(service.client.post(path, files=files), 400, "field_repeated")
        assert "'file' more than once" in document["detail"]
    assert traces(service)["dataset"] == 0
