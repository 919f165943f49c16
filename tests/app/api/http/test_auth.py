"""The Bearer key guards /v1, before anything of a request is read."""

from collections.abc import Callable

import httpx
import pytest

from tests.support.service import Service

SCOPE = "head"

KEY = "correct-horse-battery"


@pytest.fixture
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(api_key=KEY)


def bare(service: Service) -> httpx.Client:
    """Return a client that sends no key by default."""
    return httpx.Client(base_url=service.url, trust_env=False)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "api_key_missing"),
        ("Basic Y29ycmVjdA==", "api_key_missing"),
        ("Bearer", "api_key_wrong"),
        ("Bearer wrong-horse-battery", "api_key_wrong"),
        (f"Bearer {KEY}x", "api_key_wrong"),
        (f"Bearer {KEY[:-1]}", "api_key_wrong"),
        (f"Bearer {KEY.upper()}", "api_key_wrong"),
        ("Bearer caf\xe9", "api_key_wrong"),
    ],
)
def test_without_the_key_v1_answers_401(guarded: Service, header: str | None, code: str) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    with bare(guarded) as client:
        for path in ("/v1/spaces", "/v1/nothing", "/v1"):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-request-id"] == answer.json()["request_id"]
            assert KEY not in answer.text


def test_two_authorization_headers_are_none(guarded: Service) -> None:
    with bare(guarded) as client:
        headers = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer other-key")]
        assert client.get("/v1/spaces", headers=headers).status_code == 401


def test_with_the_key_v1_answers(guarded: Service) -> None:
    with bare(guarded) as client:
        for scheme in ("Bearer", "bearer", "BEARER"):
            answer = client.get("/v1/spaces", headers={"Authorization": f"{scheme} {KEY}"})
            assert answer.status_code == 200


def test_probes_and_documentation_need_no_key(guarded: Service) -> None:
    with bare(guarded) as client:
        for path in ("/livez", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json"):
            assert client.get(path).status_code == 200, path


def test_metrics_and_documentation_can_be_closed(serve: Callable[..., Service]) -> None:
    closed = serve(api_key=KEY, open_metrics=False, open_docs=False)
    paths = ("/metrics", "/docs", "/redoc", "/openapi.json", "/static-offline-docs/redoc.js")
    with bare(closed) as client:
        for path in paths:
            assert client.get(path).status_code == 401, path
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    assert closed.client.get("/metrics").status_code == 200


def test_a_refused_upload_is_not_read(guarded: Service) -> None:
    sent = 0

    def endless():
        nonlocal sent
        while sent < 2**26:
            sent += 2**16
            yield bytes(2**16)

    with bare(guarded) as client:
        answer = client.post("/v1/datasets", content=endless())
    assert answer.status_code == 401
    assert sent < 2**26


def test_without_a_key_in_the_settings_none_is_asked_for(shared: Service) -> None:
    with bare(shared) as client:
        assert client.get("/v1/spaces").status_code == 200
