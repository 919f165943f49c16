"""API keys: made, used, listed, revoked; shown once, stored nowhere."""

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import current_thread
from threading import enumerate as enumerate_threads
from typing import get_args

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from app.access import keyring, keys
from app.database.sessions import transaction
from tangent_composer.schemas.keys import Scope
from tests.support.client import predict
from tests.support.faults import OF_THEIR_OWN
from tests.support.keys import by, made, sending, wait_for
from tests.support.problems import problem
from tests.support.service import Service

KEY = "correct-horse-battery"


@pytest.fixture
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(api_key=KEY)


def test_a_key_answers_from_the_moment_it_is_made(guarded):
    key = made(guarded, "read", name="a reader")
    assert re.fullmatch(r"tc_key_[0-9a-f]{24}_[0-9a-f]{64}", key["key"])
    assert key["key"].startswith(f"tc_{key['id']}_")
    with sending(guarded, key["key"]) as client:
        assert client.get("/v1/spaces").status_code == 200


def test_the_key_is_shown_once_and_is_nowhere_in_the_data_folder(guarded, caplog):
    caplog.set_level(0)
    body = {"name": "a", "scopes": ["read"]}
    answer = guarded.client.post("/v1/keys", json=body)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"/v1/keys/{answer.json()['id']}"
    token = answer.json()["key"]
    secret = token.rpartition("_")[2]
    with sending(guarded, token) as client:
        client.get("/v1/spaces")
        client.post("/v1/keys", json=body)
    shown = guarded.client.get("/v1/keys").text
    shown += guarded.client.get(answer.headers["location"]).text
    assert secret not in shown and "sha256" not in shown
    for path in Path(guarded.settings.data_dir).rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert secret not in caplog.text and KEY not in caplog.text
    assert KEY not in repr(guarded.settings)


def test_a_wrong_secret_an_unknown_id_and_a_changed_token_are_refused(guarded):
    token = made(guarded, "admin")["key"]
    head, _, secret = token.rpartition("_")
    others = [
        f"{head}_{'0' * 64}",
        f"tc_key_{'0' * 24}_{secret}",
        token.upper(),
        token[:-1],
        token + "0",
        secret,
    ]
    for other in others:
        with sending(guarded, other) as client:
            problem(client.get("/v1/spaces"), 401, "api_key_wrong")


def test_two_keys_cannot_swap_their_secrets(guarded):
    first, second = made(guarded, "read")["key"], made(guarded, "admin")["key"]
    mixed = f"{second.rpartition('_')[0]}_{first.rpartition('_')[2]}"
    with sending(guarded, mixed) as client:
        problem(client.get("/v1/spaces"), 401, "api_key_wrong")


def test_the_settings_key_may_do_everything_and_makes_the_others(guarded):
    admin = made(guarded, "admin")
    with sending(guarded, admin["key"]) as client:
        answer = client.post("/v1/keys", json={"name": "b", "scopes": ["read"]})
        assert answer.status_code == 201
        assert client.get("/v1/keys").json()["data"][1]["id"] == answer.json()["id"]


def test_an_expired_key_says_so(guarded, monkeypatch):
    soon = datetime.now(UTC) + timedelta(hours=1)
    key = made(guarded, "read", expires_at=soon.isoformat())
    with sending(guarded, key["key"]) as client:
        assert client.get("/v1/spaces").status_code == 200
        monkeypatch.setattr("app.access.callers.now", lambda: soon)
        refused = problem(client.get("/v1/spaces"), 401, "api_key_expired")
        assert key["id"] in refused["detail"]


def test_a_revoked_key_says_so_at_once(guarded):
    key = made(guarded, "read")
    with sending(guarded, key["key"]) as client:
        assert client.get("/v1/spaces").status_code == 200
        revoked = guarded.client.delete(f"/v1/keys/{key['id']}")
        assert revoked.status_code == 200 and revoked.json()["revoked_at"]
        problem(client.get("/v1/spaces"), 401, "api_key_revoked")
    again = guarded.client.delete(f"/v1/keys/{key['id']}").json()
    assert again["revoked_at"] == revoked.json()["revoked_at"]


def test_what_another_process_revokes_is_refused_within_seconds(guarded, monkeypatch):
    monkeypatch.setattr(keyring, "KEPT_SECONDS", 0.2)
    key = made(guarded, "read")
    with sending(guarded, key["key"]) as client:
        assert client.get("/v1/spaces").status_code == 200
        with transaction(guarded.state.sessions) as session:  # as the command line does
            keys.revoke(session, key["id"])
        time.sleep(0.25)
        problem(client.get("/v1/spaces"), 401, "api_key_revoked")


def test_whoever_does_not_know_the_secret_does_not_learn_that_a_key_was_revoked(guarded):
    key = made(guarded, "read")
    guarded.client.delete(f"/v1/keys/{key['id']}")
    with sending(guarded, f"tc_{key['id']}_{'0' * 64}") as client:
        problem(client.get("/v1/spaces"), 401, "api_key_wrong")


def test_a_key_that_does_not_exist_cannot_be_revoked(guarded):
    for method in ("GET", "DELETE"):
        problem(guarded.client.request(method, "/v1/keys/key_0"), 404, "key_not_found")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["root"]}, "/scopes/0"),
        ({"scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({"scopes": ["read"], "expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
        ({"scopes": ["read"], "limits": {"requests_per_second": 0}}, "/limits/requests_per_second"),
        ({"scopes": ["read"], "limits": {"images": 1}}, "/limits/images"),
        ({"scopes": ["read"], "limits": {"max_datasets": -1}}, "/limits/max_datasets"),
        ({"scopes": ["read"], "name": " "}, "/name"),
        ({"scopes": ["read"], "name": "a\0"}, "/name"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_its_place(guarded, body, place):
    answer = guarded.client.post("/v1/keys", json={"name": "a"} | body)
    found = problem(answer, 422, "invalid_request")
    assert place in {error["pointer"] for error in found["errors"]}


def test_keys_are_listed_by_pages(guarded):
    ids = [made(guarded, "read")["id"] for _ in range(3)]
    page = guarded.client.get("/v1/keys?limit=2").json()
    rest = guarded.client.get(f"/v1/keys?after={page['next']}").json()
    assert [key["id"] for key in page["data"] + rest["data"]] == ids
    assert not rest["has_more"]


def test_limits_are_shown_as_they_were_given(guarded):
    limits = {"requests_per_second": 5.0, "images_per_second": None, "max_bytes": 2**40}
    limits |= {"max_datasets": 3, "max_queued_trainings": 0, "max_components": 4, "max_spaces": 1}
    limits |= {"max_compositions": 0, "max_evaluations": None, "max_concurrent_requests": 2}
    limits["max_batch_predictions"] = 5
    key = made(guarded, "read", limits=limits)
    assert guarded.client.get(f"/v1/keys/{key['id']}").json()["limits"] == limits


def test_the_use_of_a_key_is_noted_by_the_minute(guarded, monkeypatch):
    key = made(guarded, "read")
    path = f"/v1/keys/{key['id']}"
    assert key["last_used_at"] is None
    with sending(guarded, key["key"]) as client:
        client.get("/v1/spaces")
        used = wait_for(lambda: guarded.client.get(path).json()["last_used_at"])
        for _ in range(5):
            client.get("/v1/spaces")
        assert guarded.client.get(path).json()["last_used_at"] == used


def test_a_wrong_secret_is_no_use_of_a_key(guarded):
    key = made(guarded, "read")
    with sending(guarded, f"tc_{key['id']}_{'0' * 64}") as client:
        client.get("/v1/spaces")
    guarded.state.admission.keyring.close()  # waits for notes
    assert guarded.client.get(f"/v1/keys/{key['id']}").json()["last_used_at"] is None


def test_without_a_key_in_the_settings_the_first_key_closes_the_door(service):
    assert service.client.get("/v1/spaces").status_code == 200
    admin = made(service, "admin")
    problem(service.client.get("/v1/spaces"), 401, "api_key_missing")
    with sending(service, admin["key"]) as client:
        assert client.get("/v1/spaces").status_code == 200
        client.delete(f"/v1/keys/{admin['id']}")
        problem(client.get("/v1/spaces"), 401, "api_key_revoked")
    problem(service.client.get("/v1/spaces"), 401, "api_key_missing")  # and it stays closed


def test_the_first_key_over_http_must_be_able_to_make_others(service):
    answer = service.client.post("/v1/keys", json={"name": "a", "scopes": ["read"]})
    problem(answer, 409, "first_key_not_admin")
    assert service.client.get("/v1/spaces").status_code == 200


def test_a_request_costs_no_more_sql_with_a_key_than_without(service, monkeypatch):
    monkeypatch.setattr(keyring, "KEPT_SECONDS", 600.0)  # however long a request takes here
    service.component({"cat": 6, "dog": 6})
    seen: list[str] = []
    engine = service.state.sessions.kw["bind"]

    def note(*given: object) -> None:
        if not current_thread().name.startswith(OF_THEIR_OWN):
            seen.append(given[2])

    event.listen(engine, "before_cursor_execute", note)
    for thread in enumerate_threads():
        if thread.name == "space-probes":  # what they find out, selections are read again for
            thread.join()
    predict(service)
    seen.clear()
    predict(service)
    keyless = list(seen)
    with by(service, "admin") as admin:
        service.client.headers.update(admin.headers)
        with by(service, "predict") as client:
            service.client.headers.update(client.headers)
            predict(service)
            service.state.admission.keyring.close()  # no note of use may come in between
            seen.clear()
            predict(service)
    assert seen == keyless == []


def test_a_database_that_is_away_is_no_wrong_key(guarded, monkeypatch):
    token = made(guarded, "read")["key"]
    away = sqlite3.OperationalError("unable to open database file")
    away.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN

    def broken(*given):
        raise OperationalError("SELECT", {}, away)

    monkeypatch.setattr("app.access.keyring.transaction", broken)
    with sending(guarded, token) as client:
        answer = client.get("/v1/spaces")
        problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


def test_a_row_has_the_hash_of_the_whole_token(guarded):
    token = made(guarded, "read")["key"]
    with transaction(guarded.state.reading) as session:
        stored = session.scalar(text("SELECT sha256 FROM api_key"))
    assert stored == hashlib.sha256(token.encode()).hexdigest()


def test_the_scopes_of_the_schema_are_those_of_the_rows():
    assert get_args(Scope) == keys.SCOPES
