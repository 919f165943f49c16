"""Connections: what a client keeps open, sends slowly or does not read holds up nobody."""

import hashlib
import socket
import time
from pathlib import Path

import pytest

from app.database.sessions import transaction
from app.store import components
from tests.support.connections import answers, connected, get, read_all
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
LARGE = 24 * 2**20  # bytes: more than the buffers between a server and a client hold


def enlarged(service: Service, component_id: str) -> str:
    """Give the component a file that fits into no buffer; return its path."""
    with transaction(service.state.sessions) as session:
        row = components.get(session, component_id)
        path = service.state.blobs.path(row.blob_key)
        path.write_bytes(b"\x55" * LARGE)
        row.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        row.bytes = LARGE
    return str(path)


def test_a_client_that_does_not_read_holds_up_no_deletion_and_no_other(service: Service) -> None:
    kept, slow = service.component({"cat": 2}), service.component({"dog": 2})
    enlarged(service, slow)
    with connected(service, get(f"/v1/components/{slow}/delta"), window=4096) as line:
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        assert service.client.delete(f"/v1/components/{kept}").status_code == 200
        assert time.monotonic() - began < service.state.gate.patience / 2
        assert line.recv(2**16), "another one's deletion ended the transfer"


def test_a_transfer_ends_when_what_it_contains_is_deleted(service: Service) -> None:
    slow = service.component({"dog": 2})
    enlarged(service, slow)
    with connected(service, get(f"/v1/components/{slow}/delta"), window=4096) as line:
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        assert service.client.delete(f"/v1/components/{slow}").status_code == 200
        data, reset = read_all(line)
    assert reset and len(data) < LARGE / 2


def test_a_transfer_ends_when_another_process_deletes_the_file(service: Service) -> None:
    slow = service.component({"dog": 2})
    path = enlarged(service, slow)
    with connected(service, get(f"/v1/components/{slow}/delta"), window=4096) as line:
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        Path(path).unlink()
        time.sleep(1.5)
        data, reset = read_all(line)
    assert reset and len(data) < LARGE / 2


def test_a_damaged_file_is_not_sent_under_the_hash_of_its_row(service: Service) -> None:
    damaged = service.component({"dog": 2})
    with transaction(service.state.reading) as session:
        path = service.state.blobs.path(components.get(session, damaged).blob_key)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)

    for headers in ({}, {"Range": "bytes=0-9"}):
        answer = service.client.get(f"/v1/components/{damaged}/delta", headers=headers)
        problem(answer, 503, "component_damaged")


QUICK = {"client_seconds": 0.4}


@pytest.fixture
def quick(serve) -> Service:
    return serve(**QUICK)


def test_a_head_that_does_not_come_ends_the_connection(quick: Service) -> None:
    for sent in (b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"):
        with connected(quick, sent) as line:
            assert read_all(line)[0] == b""


def test_a_head_that_comes_byte_by_byte_ends_the_connection(quick: Service) -> None:
    with connected(quick) as line, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for byte in get("/livez"):
            line.sendall(bytes([byte]))
            time.sleep(0.1)


def test_a_second_request_has_as_little_time_for_its_head(quick: Service) -> None:
    with connected(quick, get("/livez") + b"GET /livez HT") as line:
        assert read_all(line)[0].startswith(b"HTTP/1.1 200")


def test_a_body_that_does_not_come_ends_the_connection(quick: Service) -> None:
    head = b"POST /v1/compositions/a/solve HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    with connected(quick, head + b"Content-Type: application/json\r\n\r\n{") as line:
        began = time.monotonic()
        read_all(line)
        assert time.monotonic() - began < 10


def test_a_body_that_drips_on_after_its_answer_ends_the_connection(quick: Service) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    with connected(quick, head) as line, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(100):
            line.sendall(b"x")
            time.sleep(0.05)


def test_an_answer_that_is_not_read_ends_the_connection(quick: Service) -> None:
    slow = quick.component({"dog": 2})
    enlarged(quick, slow)
    with connected(quick, get(f"/v1/components/{slow}/delta"), window=4096) as line:
        time.sleep(3)
        data, reset = read_all(line)
    assert reset and len(data) < LARGE / 2


def test_a_stream_without_events_and_an_idle_connection_stay(quick: Service) -> None:
    queued = quick.queued(quick.dataset({"cat": 2}))
    head = get(f"/v1/components/{queued}/events")[:-2] + b"Accept: text/event-stream\r\n\r\n"
    with connected(quick, head) as stream, connected(quick) as idle:
        assert stream.recv(2**16).startswith(b"HTTP/1.1 200")
        assert answers(idle)
        time.sleep(1.5)
        assert answers(idle)
        quick.client.post(f"/v1/components/{queued}/cancel")
        assert b"cancelled" in read_some(stream)


def read_some(line: socket.socket) -> bytes:
    data = b""
    while b"cancelled" not in data and (piece := line.recv(2**16)):
        data += piece
    return data


def test_a_slow_client_that_goes_on_is_served(quick: Service) -> None:
    """16 KiB in each span are enough, however long the whole takes."""
    body = b"x" * 200_000
    head = f"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with connected(quick, head.encode() + b"Content-Type: image/png\r\n\r\n") as line:
        for start in range(0, len(body), 20_000):
            line.sendall(body[start : start + 20_000])
            time.sleep(0.12)
        assert line.recv(2**16).startswith(b"HTTP/1.1 409")  # nothing to predict with


def test_an_idle_connection_is_closed_after_the_setting(serve) -> None:
    service = serve(keep_alive_seconds=1)
    with connected(service, get("/livez")) as line:
        assert read_all(line)[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("bound", ["max_connections", "max_connections_per_address"])
def test_connections_beyond_the_bound_are_refused_until_others_end(serve, bound: str) -> None:
    service = serve(**{bound: 3})
    service.client.close()
    with connected(service) as held, connected(service), connected(service):
        assert answers(held)
        with connected(service, get("/livez")) as refused, connected(service) as silent:
            answer, _ = read_all(refused)
            assert answer.startswith(b"HTTP/1.1 503") and b'"too_many_connections"' in answer
            assert read_all(silent)[0] == b""
        assert answers(held)
    time.sleep(0.3)
    with connected(service) as line:
        assert answers(line)


def test_a_line_of_nothing_before_a_request_ends_the_connection_too(quick: Service) -> None:
    with connected(quick) as line:
        assert answers(line)
        line.sendall(b"\r\n")
        assert read_all(line)[0] == b""
