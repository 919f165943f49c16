"""A client that leaves in the middle of its body is counted as 499, and logged as no error."""

import logging
import time

import httpx
import pytest

from tests.support.connections import connected, read_all
from tests.support.service import Service

SCOPE = "head"
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\nabc'
BEGUN = [
    ("/v1/predictions", "image/png", b"abc"),
    ("/v1/predictions", "application/json", b'{"a":'),
    ("/v1/predictions", FORM, PART % b"images"),
    ("/v2/models/all/infer", "application/octet-stream", b"{"),
    ("/v1/batch-predictions", "application/json", b'{"a":'),
    ("/v1/batch-predictions", FORM, PART % b"file"),
    ("/v1/evaluations", "application/json", b'{"a":'),
    ("/v1/datasets", FORM, PART % b"file"),
]


def half(path: str, media_type: str, body: bytes, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n{more}"
    return head.encode() + b"Content-Length: 5000\r\n\r\n" + body


def counted(service: Service, number: int) -> list[str]:
    """Return the statuses of as many counted requests with POST, once they are counted."""
    end = time.monotonic() + 20
    while True:
        lines = httpx.get(f"{service.url}/metrics", trust_env=False).text.splitlines()
        posts = [each for each in lines if each.startswith("tangent_http_requests_total")]
        posts = [each for each in posts if 'method="POST"' in each]
        if sum(float(each.split()[-1]) for each in posts) >= number or time.monotonic() > end:
            return [each.partition('status="')[2].partition('"')[0] for each in posts]
        time.sleep(0.05)


def test_a_client_that_leaves_in_its_body_is_no_error(
    serve, caplog: pytest.LogCaptureFixture
) -> None:
    service = serve()
    sent = [half(*each) for each in BEGUN]
    sent.append(half("/v1/predictions", "image/png", b"\x1f\x8b", "Content-Encoding: gzip\r\n"))
    for each in sent:
        with connected(service, each):
            time.sleep(0.1)  # the body is being read
    assert set(counted(service, len(sent))) == {"499"}
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def test_a_slow_body_that_the_service_cuts_is_no_error(
    serve, caplog: pytest.LogCaptureFixture
) -> None:
    service = serve(client_seconds=0.4)
    with connected(service, half("/v1/predictions", "image/png", b"abc")) as line:
        read_all(line)
    assert counted(service, 1) == ["499"]
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
