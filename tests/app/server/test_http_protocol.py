"""Connections: what a client keeps open, sends slowly or does not read holds up nobody."""

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.database.sessions import transaction
from app.store import components
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
LARGE = 24 * 2**20  # bytes: more than the buffers between a server and a client hold


@contextmanager
def connected(
    service: Service, sent: bytes = b"", window: int | None = None
) -> Iterator[socket.socket]:
    """A raw connection; a small window makes the server wait for the client's reading."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.socket() as line:
        if window:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        line.settimeout(20)
        line.connect((host, int(port)))
        line.sendall(sent)
        yield line


def read_all(line: socket.socket) -> tuple[bytes, bool]:
    """Return what comes until the end, and whether the end is a reset."""
    data = bytearray()
    try:
        while piece := line.recv(2**16):
            data += piece
    except ConnectionResetError:
        return bytes(data), True
    return bytes(data), False


def answers(line: socket.socket) -> bool:
    """Return whether a GET of /livez on this connection is answered 200."""
    line.sendall(get("/livez"))
    data = b""
    while not data.endswith(b'{"status":"ok"}') and (piece := line.recv(2**16)):
        data += piece
    return data.startswith(b"HTTP/1.1 200")


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


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


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, "malformed_request"),  # TLS
        (b"GET /livez HTTP/1.1\r\nBad Name: 1\r\n\r\n", 400, "malformed_request"),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
        (b"GET /livez HTTP/1.1\r\nX: " + b"a" * 2**17 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET /livez HTTP/1.1\r\n" + b"X: 1\r\n" * 2**14 + b"\r\n", 431, "head_too_large"),
        (b"GET /" + b"a" * 2**17 + b" HTTP/1.1\r\n\r\n", 431, "head_too_large"),
    ],
    ids=["no http", "header name", "path", "long header", "many headers", "long path"],
)
def test_what_is_no_request_is_answered_by_a_problem(shared, sent, status, code) -> None:
    with connected(shared, sent) as line:
        answer, _ = read_all(line)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in head and b"Connection: close" in head
    assert json.loads(body)["code"] == code


def test_a_wish_for_another_protocol_is_not_heard_and_its_request_is_answered(shared) -> None:
    body = b'{"images": []}'
    lines = (
        *(b"POST /v1/predictions HTTP/1.1", b"Host: localhost", b"Content-Type: application/json"),
        *(b"Content-Length: %d" % len(body), b"Connection: Upgrade, HTTP2-Settings"),
        *(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ", b"", b""),
    )
    head = b"\r\n".join(lines)
    for pause in (len(head) + len(body), len(head) + 3, len(head), 30):
        sent = head + body
        with connected(shared, sent[:pause]) as line:
            time.sleep(0.05)
            line.sendall(sent[pause:])
            answer = b""
            while not answer.endswith(b"}") and (piece := line.recv(2**16)):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 422") and answers(line)


def test_a_thousand_such_wishes_at_once_are_as_many_requests(shared) -> None:
    wish = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with connected(shared, wish * 1_000) as line:
        data = b""
        while data.count(b'{"status":"ok"}') < 1_000 and (piece := line.recv(2**20)):
            data += piece
    assert data.count(b"HTTP/1.1 200") == 1_000


def test_requests_that_come_together_are_answered_in_turn(shared) -> None:
    with connected(shared, get("/livez") * 3) as line:
        data = b""
        while data.count(b'{"status":"ok"}') < 3 and (piece := line.recv(2**16)):
            data += piece
    assert data.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    ("target", "status"),
    [(b"GET http://localhost/livez", 200), (b"OPTIONS *", 404), (b"CONNECT localhost:80", 400)],
)
def test_other_forms_of_a_target_are_answered(shared, target: bytes, status: int) -> None:
    with connected(shared, target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") as line:
        assert line.recv(2**16).startswith(b"HTTP/1.1 %d " % status)
