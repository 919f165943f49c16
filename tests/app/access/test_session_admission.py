"""Admission by a browser's session: its changes, its rights, and its end, in all processes."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from app.access import browser_sessions, known_sessions
from app.database.sessions import transaction
from app.database.tables import BrowserSession
from tests.support.browser_sessions import attributes, begin, signed_in, upload
from tests.support.images import archive, image
from tests.support.keys import made, sending, wait_for
from tests.support.problems import problem
from tests.support.service import Service, plain_client
from tests.support.serving_processes import serving
from tests.support.statements import noted_statements

SCOPE = "head"
KEY = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.fixture
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(api_key=KEY)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (None, "csrf_token_missing"),
        ("", "csrf_token_missing"),
        ("0" * 64, "csrf_token_wrong"),
        ("é", "csrf_token_wrong"),
        ("x" * 50_000, "csrf_token_wrong"),
    ],
)
def test_a_change_by_cookie_alone_is_refused_before_its_body_is_read(guarded, sent, code):
    with signed_in(guarded, KEY, changes=False) as client:
        headers = {} if sent is None else {b"X-CSRF-Token": sent.encode()}

        def endless():
            while True:
                yield bytes(2**16)

        for method, path in (
            *(("POST", "/v1/datasets"), ("PUT", "/v1/compositions/a"), ("PATCH", "/v1/none")),
            *(("DELETE", "/v1/components/none"), ("POST", "/v2/models/a/infer")),
        ):
            body = endless() if path == "/v1/datasets" else None
            answer = client.request(method, path, headers=headers, content=body)
            assert "GET /session" in problem(answer, 403, code)["detail"]
        assert client.get("/v1/datasets").json()["data"] == []


def test_a_change_with_the_sessions_own_token_is_made(guarded):
    with signed_in(guarded, KEY) as client:
        made_ = upload(client)
        assert made_.status_code == 201
        assert client.delete(f"/v1/datasets/{made_.json()['id']}").status_code == 200


def test_the_token_of_another_session_is_wrong(guarded):
    with signed_in(guarded, KEY) as one, signed_in(guarded, KEY) as other:
        one.headers["X-CSRF-Token"] = other.headers["X-CSRF-Token"]
        problem(upload(one), 403, "csrf_token_wrong")
        both = [("X-CSRF-Token", other.headers["X-CSRF-Token"])] * 2
        problem(other.post("/v1/datasets", headers=both), 403, "csrf_token_wrong")


def test_reading_needs_no_token(guarded):
    with signed_in(guarded, KEY, changes=False) as client:
        for method in ("GET", "HEAD"):
            assert client.request(method, "/v1/datasets").status_code == 200


def test_a_page_of_another_site_cannot_use_the_cookie(guarded):
    with signed_in(guarded, KEY) as client:
        evil = {"Origin": "http://evil.example"}
        files = {"file": ("a.zip", archive({"cat": 1}), "application/zip")}
        problem(client.post("/v1/datasets", files=files, headers=evil), 403, "cross_site")
        refused = client.post("/session", json={"key": KEY}, headers=evil)
        problem(refused, 403, "cross_site")
        assert "access-control-allow-origin" not in client.get("/session", headers=evil).headers


def test_a_key_in_the_header_goes_before_the_cookie(guarded):
    reader = made(guarded, "read")["key"]
    with signed_in(guarded, KEY, changes=False) as client:
        bearer = {"Authorization": f"Bearer {reader}"}
        refused = client.post("/v1/datasets", headers=bearer)
        problem(refused, 403, "scope_missing")  # and not for the lack of X-CSRF-Token
        wrong = client.get("/v1/datasets", headers={"Authorization": "Bearer x"})
        problem(wrong, 401, "api_key_wrong")
        basic = {"Authorization": "Basic eDp5"}  # a proxy's own
        assert client.get("/v1/datasets", headers=basic).status_code == 200


def test_the_session_may_do_what_its_key_may(guarded):
    with signed_in(guarded, made(guarded, "read")["key"]) as client:
        assert problem(upload(client), 403, "scope_missing")["scope"] == "train"
    with signed_in(guarded, made(guarded, "train", limits={"max_datasets": 1})["key"]) as client:
        assert upload(client).status_code == 201
        files = {"file": ("b.zip", archive({"dog": 1}), "application/zip")}
        problem(client.post("/v1/datasets", files=files), 403, "quota_exceeded")


def test_requests_by_the_cookie_count_as_the_keys(guarded):
    key = made(guarded, "read", limits={"requests_per_second": 0.05})["key"]
    with plain_client(guarded.url) as client:
        begin(client, key)  # counts too
        problem(client.get("/v1/datasets"), 429, "rate_limited")
        assert client.get("/session").json()["authenticated"] is True
    with sending(guarded, key) as client:
        problem(client.get("/v1/datasets"), 429, "rate_limited")


def test_the_audit_log_names_the_key_and_tells_of_sessions(guarded):
    key = made(guarded, "train")
    with signed_in(guarded, key["key"]) as client:
        dataset = upload(client).json()["id"]
        assert client.delete("/session").status_code == 204
    entries = guarded.client.get("/v1/audit", params={"key_id": key["id"]}).json()["data"]
    acts = [(each["action"], each["objects"]) for each in entries]
    assert acts == [
        ("POST /session", []),
        ("POST /v1/datasets", [dataset]),
        ("DELETE /session", []),
    ]


def test_images_and_events_come_by_the_cookie_alone(guarded):
    component = guarded.component({"cat": 2, "dog": 2})
    dataset = guarded.client.get(f"/v1/components/{component}").json()["dataset_id"]
    images = guarded.client.get(f"/v1/datasets/{dataset}/images").json()["data"]
    with signed_in(guarded, made(guarded, "read")["key"], changes=False) as client:
        small = client.get(f"/v1/datasets/{dataset}/images/{images[0]['id']}?size=16")
        assert small.headers["content-type"] == "image/png"
        stream = {"Accept": "text/event-stream"}
        with client.stream("GET", f"/v1/components/{component}/events", headers=stream) as events:
            assert events.status_code == 200
            assert "event: status" in "".join(events.iter_text())


def test_documentation_and_metrics_that_are_closed_open_to_the_cookie(serve):
    closed = serve(api_key=KEY, open_docs=False, open_metrics=False)
    with plain_client(closed.url) as client:
        problem(client.get("/docs"), 401, "api_key_missing")
        begin(client, KEY)
        for path in ("/docs", "/redoc", "/openapi.json", "/metrics"):
            assert client.get(path).status_code == 200, path


def test_an_ended_session_is_over_on_the_server(guarded):
    with signed_in(guarded, KEY) as client:
        answer = client.delete("/session")
        assert (answer.status_code, answer.content) == (204, b"")
        found = attributes(answer)
        assert (found["value"], found["max-age"], found["path"]) == ("", "0", "/")
        problem(client.get("/v1/datasets"), 401, "session_ended")
        assert client.get("/session").json()["authenticated"] is False
        assert client.delete("/session").status_code == 204
    with transaction(guarded.state.reading) as session:
        assert session.query(BrowserSession).count() == 0


def test_ending_a_session_is_a_change(guarded):
    with signed_in(guarded, KEY, changes=False) as client:
        problem(client.delete("/session"), 403, "csrf_token_missing")
        assert client.get("/session").json()["authenticated"] is True


def test_a_new_session_ends_the_one_that_the_browser_had(guarded):
    with signed_in(guarded, KEY) as client:
        before = client.headers["Cookie"]
        begin(client, KEY)
        assert client.headers["Cookie"] != before
        refused = client.get("/v1/datasets", headers={"Cookie": before})
        problem(refused, 401, "session_ended")


def test_a_session_ends_after_its_time(guarded, monkeypatch):
    with signed_in(guarded, KEY) as client:
        assert client.get("/v1/datasets").status_code == 200
        later = datetime.now(UTC) + timedelta(seconds=guarded.settings.session_seconds)
        monkeypatch.setattr("app.access.known_sessions.now", lambda: later)
        problem(client.get("/v1/datasets"), 401, "session_ended")
        assert client.get("/session").json()["authenticated"] is False


def test_sessions_whose_time_is_over_are_removed_when_another_begins(guarded, monkeypatch):
    with signed_in(guarded, KEY):
        pass
    later = datetime.now(UTC) + timedelta(seconds=guarded.settings.session_seconds)
    monkeypatch.setattr("app.access.browser_sessions.now", lambda: later)
    with signed_in(guarded, KEY), transaction(guarded.state.reading) as session:
        assert session.query(BrowserSession).count() == 1


def test_a_key_has_a_bounded_number_of_sessions_and_the_oldest_ends(guarded, monkeypatch):
    monkeypatch.setattr(browser_sessions, "MAX_SESSIONS", 3)
    other = made(guarded, "read")["key"]
    with signed_in(guarded, other) as stays, signed_in(guarded, KEY) as oldest:
        for _ in range(3):
            with signed_in(guarded, KEY) as client:
                assert client.get("/v1/datasets").status_code == 200
        problem(oldest.get("/v1/datasets"), 401, "session_ended")
        assert stays.get("/v1/datasets").status_code == 200


def test_a_session_dies_with_its_revoked_key_at_once(guarded):
    key = made(guarded, "read")
    with signed_in(guarded, key["key"]) as client:
        assert client.get("/v1/datasets").status_code == 200
        guarded.client.delete(f"/v1/keys/{key['id']}")
        problem(client.get("/v1/datasets"), 401, "api_key_revoked")
        shown = client.get("/session")
        assert shown.json()["authenticated"] is False and attributes(shown)["max-age"] == "0"
        refused = client.post("/session", json={"key": key["key"]})
        problem(refused, 401, "api_key_revoked")
        assert client.delete("/session").status_code == 204


def test_a_session_dies_with_its_expired_key(guarded, monkeypatch):
    soon = datetime.now(UTC) + timedelta(hours=1)
    key = made(guarded, "read", expires_at=soon.isoformat())["key"]
    with signed_in(guarded, key) as client:
        assert client.get("/v1/datasets").status_code == 200
        monkeypatch.setattr("app.access.callers.now", lambda: soon)
        problem(client.get("/v1/datasets"), 401, "api_key_expired")
        assert client.get("/session").json()["authenticated"] is False


def test_a_session_of_the_settings_key_dies_when_the_settings_get_another(serve):
    first = serve(api_key=KEY)
    with signed_in(first, KEY) as client:
        sent = client.headers["Cookie"]
    second = serve(api_key=KEY[::-1], data_dir=first.settings.data_dir)
    with plain_client(second.url) as client:
        refused = client.get("/v1/datasets", headers={"Cookie": sent})
        problem(refused, 401, "session_ended")
        assert client.get("/session", headers={"Cookie": sent}).json()["authenticated"] is False


def test_a_session_is_one_in_all_processes_and_ends_in_all(guarded, tmp_path):
    with (
        serving(guarded.settings, tmp_path) as other,
        signed_in(guarded, KEY) as here,
        plain_client(f"http://127.0.0.1:{other.port}") as there,
    ):
        there.headers.update({name: here.headers[name] for name in ("Cookie", "X-CSRF-Token")})
        assert there.get("/session").json()["authenticated"] is True
        assert upload(there).status_code == 201
        assert here.delete("/session").status_code == 204
        problem(here.get("/v1/datasets"), 401, "session_ended")
        wait_for(lambda: there.get("/v1/datasets").status_code == 401)
        problem(there.get("/v1/datasets"), 401, "session_ended")


def test_what_another_process_has_ended_is_refused_within_seconds(guarded, monkeypatch):
    monkeypatch.setattr(known_sessions, "KEPT_SECONDS", 0.0)
    with signed_in(guarded, KEY) as client:
        assert client.get("/v1/datasets").status_code == 200
        token = client.headers["Cookie"].partition("=")[2]
        with transaction(guarded.state.sessions) as session:  # as another process does
            browser_sessions.end(session, [token])
        problem(client.get("/v1/datasets"), 401, "session_ended")


def test_a_session_that_is_known_costs_no_statement(guarded, monkeypatch):
    monkeypatch.setattr(known_sessions, "KEPT_SECONDS", 600.0)
    monkeypatch.setattr("app.access.keyring.KEPT_SECONDS", 600.0)
    guarded.component({"cat": 2, "dog": 2})
    with signed_in(guarded, made(guarded, "predict", "read")["key"]) as client:
        files = {"images": ("a.png", image("cat", 60))}
        assert client.post("/v1/predictions", files=files).status_code == 200
        asked = noted_statements(guarded)
        assert client.post("/v1/predictions", files=files).status_code == 200
    assert not [each for each in asked if "browser_session" in each or "api_key" in each]


def test_a_database_that_is_away_is_no_ended_session(guarded, monkeypatch):
    with signed_in(guarded, KEY) as client:
        guarded.state.session_admission.sessions.forget()
        cause = sqlite3.OperationalError("unable to open database file")
        cause.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN

        def away(*_, **__):
            raise OperationalError("SELECT", {}, cause)

        monkeypatch.setattr("app.access.browser_sessions.find", away)
        monkeypatch.setattr("app.access.browser_sessions.begin", away)
        post = client.post("/session", json={"key": KEY})
        for answer in (client.get("/v1/datasets"), client.get("/session"), post):
            problem(answer, 503, "database_unavailable")
            assert "set-cookie" not in answer.headers
        monkeypatch.undo()
        assert upload(client).status_code == 201
