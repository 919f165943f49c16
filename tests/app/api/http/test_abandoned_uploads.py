"""The reading of an archive ends once nobody waits for it: the client has left, or a stop."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from app.archives import uploads
from tests.support.archives import archive, noise_at
from tests.support.connections import connected
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.uploads import FILES, created, post, traces

SCOPE = "head"


class Held:
    """The readings of archives, which wait before they begin until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._measure = uploads.measure
        monkeypatch.setattr(uploads, "measure", self._measured)

    def _measured(self, *given: Any) -> Any:
        found = self._measure(*given)
        self.begun.set()
        assert self.go.wait(60)
        return found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    readings = Held(monkeypatch)
    yield readings
    readings.go.set()


def request(path: str) -> bytes:
    body = httpx.Request("POST", "http://localhost", files={"file": ("a.zip", archive(FILES))})
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: {body.headers['content-type']}\r\n"
    return f"{head}Content-Length: {body.headers['content-length']}\r\n\r\n".encode() + body.read()


@contextmanager
def until(condition: Callable[[], bool]) -> Iterator[None]:
    """Wait for the condition after the block."""
    yield
    end = monotonic() + 20
    while not condition() and monotonic() < end:
        sleep(0.05)
    assert condition()


def ended_as_left(service: Service) -> bool:
    lines = service.client.get("/metrics").text.splitlines()
    return any('status="499"' in line and "http_requests_total" in line for line in lines)


@pytest.mark.parametrize("path", ["/v1/datasets", "/v1/datasets/{id}/images"])
def test_an_archive_whose_client_has_left_is_read_no_further(
    serve: Callable[..., Service], held: Held, path: str
) -> None:
    service = serve(max_concurrent_uploads=1)
    held.go.set()
    made = created(service, noise_at("cat/9.png", "dog/8.png"))
    held.go.clear()
    held.begun.clear()
    before = traces(service)
    with until(lambda: ended_as_left(service)):
        with connected(service, request(path.format(**made))):
            assert held.begun.wait(20)
        sleep(0.3)  # the server sees that it has left
        held.go.set()
    assert traces(service) == before
    assert post(service, archive(FILES)).status_code == 201  # the slot is free again


def test_a_service_that_stops_ends_an_upload_with_its_reason(
    serve: Callable[..., Service], held: Held
) -> None:
    service = serve()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(post, service, archive(FILES))
        assert held.begun.wait(20)
        service.app.state.upload_slots.end()
        held.go.set()
        problem(sent.result(30), 503, "service_stopping")
    assert traces(service)["scratch"] == []
