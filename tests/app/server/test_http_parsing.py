"""Requests on the wire: odd ones are answered, hostile ones refused, and none reads for ever."""

import json
import time

import pytest

from tests.support.connections import answers, connected, get, read_all

SCOPE = "head"


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


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /",
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
    ids=["header", "path", "trailer"],
)
def test_what_does_not_end_is_not_read_for_ever(shared, begin: bytes) -> None:
    with connected(shared, begin) as line:
        sent = 0
        try:
            while sent < 2**26:
                line.sendall(b"a" * 2**16)
                sent += 2**16
        except OSError:
            pass
        assert sent < 2**24


def test_a_trailer_is_no_header(serve) -> None:
    key = "k" * 40
    service = serve(api_key=key)
    head = b"GET /v1/limits HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    trailers = f"Authorization: Bearer {key}\r\nX-Request-Id: from-a-trailer\r\n\r\n".encode()
    for wish in (b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"):
        with connected(service, head + wish + b"\r\n0\r\n" + trailers) as line:
            line.settimeout(5)
            answer = line.recv(2**16)
        assert answer.startswith(b"HTTP/1.1 401") and b"from-a-trailer" not in answer


def test_a_wish_for_another_protocol_and_an_end_of_the_connection_keep_the_end(shared) -> None:
    lines = b"Host: localhost\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    with connected(shared, b"GET /livez HTTP/1.1\r\n" + lines) as line:
        answer, was_reset = read_all(line)
    assert answer.endswith(b'{"status":"ok"}') and not was_reset


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
    [
        (b"GET http://localhost/livez", 200),
        (b"OPTIONS *", 204),  # of the service as a whole
        *((b"CONNECT localhost:80", 400), (b"CONNECT /livez", 400), (b"CONNECT *", 400)),
        (b"CONNECT http://localhost/livez", 400),
    ],
)
def test_other_forms_of_a_target_are_answered(shared, target: bytes, status: int) -> None:
    with connected(shared, target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") as line:
        assert line.recv(2**16).startswith(b"HTTP/1.1 %d " % status)
