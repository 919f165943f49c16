"""Routes of a browser's session: begun with a key, shown, documented; wrong keys are slowed."""

import re
from collections.abc import Callable

import pytest

from app.access.admission import MAX_FAILURES
from tests.support.browser_sessions import COOKIE, begin, signed_in, upload
from tests.support.keys import made
from tests.support.problems import problem
from tests.support.service import Service, plain_client

SCOPE = "head"
KEY = "9f86d081884c7d659a2feaa0c55ad015"
SHORT = "correct-horse-battery"
OTHER_TOKEN = f"tcs_{'0' * 64}"


@pytest.fixture
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(api_key=KEY)


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={token}"}


def test_a_key_begins_a_session_whose_cookie_is_the_key_from_then_on(guarded):
    key = made(guarded, "read", name="a reader")
    with plain_client(guarded.url) as client:
        problem(client.get("/v1/datasets"), 401, "api_key_missing")
        session = begin(client, key["key"])
        assert session["required"] and session["authenticated"]
        assert session["key"] == {"id": key["id"], "name": "a reader", "scopes": ["read"]}
        assert re.fullmatch(r"[0-9a-f]{64}", session["csrf_token"])
        assert client.get("/v1/datasets").status_code == 200
        assert client.get("/session").json() == session


def test_the_key_of_the_settings_begins_one_too(guarded):
    with plain_client(guarded.url) as client:
        session = begin(client, f" {KEY}\n")
        assert session["key"] == {"id": "settings", "name": "TANGENT_API_KEY", "scopes": ["admin"]}
        assert client.get("/v1/keys").status_code == 200


def test_without_a_cookie_there_is_no_session(guarded, serve):
    nothing = {"authenticated": False, "key": None, "csrf_token": None, "expires_at": None}
    with plain_client(guarded.url) as client:
        answer = client.get("/session")
        assert answer.json() == {"required": True} | nothing
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
    assert serve().client.get("/session").json() == {"required": False} | nothing


def test_a_service_that_needs_no_key_has_no_sessions_until_the_first_key(either):
    service = either
    problem(service.client.post("/session", json={"key": "any"}), 409, "no_key_needed")
    leftover = cookie(OTHER_TOKEN)
    assert upload(service.client).status_code == 201
    assert service.client.get("/v1/datasets", headers=leftover).status_code == 200
    assert service.client.delete("/v1/datasets/none", headers=leftover).status_code == 404
    key = made(service, "admin")["key"]
    assert service.client.get("/session").json()["required"] is True
    with signed_in(service, key) as client:
        assert upload(client).status_code == 201
        assert client.delete("/session").status_code == 204
        problem(client.get("/v1/datasets"), 401, "session_ended")


# Wrong keys


def test_wrong_keys_are_slowed_down_as_those_in_a_header_are(serve):
    service = serve(api_key=SHORT)
    strong = made(service, "read")["key"]
    with plain_client(service.url) as client:
        for number in range(MAX_FAILURES):
            if number % 2:
                refused = client.post("/session", json={"key": "wrong-horse"})
                assert refused.headers["www-authenticate"].startswith("Bearer")
            else:
                refused = client.get("/v1/datasets", headers={"Authorization": "Bearer wrong"})
            problem(refused, 401, "api_key_wrong")
            assert "set-cookie" not in refused.headers
        for key in ("wrong-horse", SHORT):  # even the right guess must not show itself
            refused = client.post("/session", json={"key": key})
            problem(refused, 429, "too_many_wrong_keys")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert begin(client, strong)["authenticated"]  # nobody can guess this one
    text = service.client.get("/metrics", headers={"Authorization": ""}).text
    assert f'tangent_refused_callers_total{{code="api_key_wrong"}} {MAX_FAILURES}.0' in text


def test_a_wrong_cookie_does_not_count_as_a_wrong_key(guarded):
    with plain_client(guarded.url) as client:
        for number in range(2 * MAX_FAILURES):
            headers = cookie(f"tcs_{number:064x}")
            problem(client.get("/v1/datasets", headers=headers), 401, "session_ended")
        assert begin(client, KEY)["authenticated"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"key": ""}, 422, "invalid_request"),
        ({"key": 5}, 422, "invalid_request"),
        ({"key": "x" * 5000}, 422, "invalid_request"),
        ({"key": "a\0"}, 422, "invalid_request"),
        ({"key": KEY, "more": 1}, 422, "invalid_request"),
        ({"key": "é"}, 401, "api_key_wrong"),
        ({"key": "x" * 100_000}, 413, "request_too_large"),
    ],
)
def test_a_body_that_is_no_key_is_refused_without_repeating_it(guarded, body, status, code):
    answer = guarded.client.post("/session", json=body)
    problem(answer, status, code)
    assert KEY not in answer.text and "xxxxxxxx" not in answer.text


def test_the_body_is_json(guarded):
    assert guarded.client.post("/session", content=b"{").status_code in (400, 415)
    form = guarded.client.post("/session", data={"key": KEY})
    assert form.status_code in (415, 422)


# The document


def test_the_document_tells_of_sessions_and_their_problems(guarded):
    document = guarded.client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["Session"] | {"description": ""} == {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "",
    }
    assert (schemes["CsrfToken"]["in"], schemes["CsrfToken"]["name"]) == ("header", "X-CSRF-Token")
    path = document["paths"]["/session"]
    assert set(path) == {"get", "post", "delete"}
    assert {"200", "401", "409", "422", "429"} <= set(path["post"]["responses"])
    assert {"204", "403"} <= set(path["delete"]["responses"])
    datasets = document["paths"]["/v1/datasets"]
    assert {"Session": []} in datasets["get"]["security"]
    assert {"Session": [], "CsrfToken": []} in datasets["post"]["security"]
    refusals = datasets["post"]["responses"]["403"]["content"]["application/problem+json"]
    assert {"csrf_token_missing", "csrf_token_wrong"} <= set(refusals["examples"])
