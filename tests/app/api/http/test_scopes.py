"""Every route below /v1 needs a scope, and no key gets past the one that it lacks."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from app.access import keys
from app.access.callers import Caller
from app.api.http.scopes import ANY, SCOPES, ScopedRoute, check, checked
from app.errors import Forbidden
from tests.support.keys import by, made, sending
from tests.support.problems import problem
from tests.support.service import Service

OPEN = {
    *("GET /livez", "GET /readyz", "GET /metrics"),
    *("GET /session", "POST /session", "DELETE /session"),
    *("GET /v2", "GET /v2/health/live", "GET /v2/health/ready"),
}


@pytest.fixture(scope="module")
def guarded(shared: Service) -> Iterator[Service]:
    """The shared service, with a key of all scopes in its client."""
    token = made(shared, "admin")["key"]
    shared.client.headers["Authorization"] = f"Bearer {token}"
    yield shared
    del shared.client.headers["Authorization"]


@pytest.fixture(scope="module")
def clients(guarded: Service) -> Iterator[dict[str, httpx.Client]]:
    """A client for each scope, with a key of this scope alone."""
    found = {scope: sending(guarded, made(guarded, scope)["key"]) for scope in keys.SCOPES}
    yield found
    for client in found.values():
        client.close()


@pytest.fixture(scope="module")
def routes(shared: Service) -> set[str]:
    """Every route of the running application, from its own document."""
    document = shared.client.get("/openapi.json").json()
    return {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }


def test_the_table_has_every_route_that_is_not_open_and_no_other(routes: set[str]):
    table = {each if " /v2/" in each else each.replace(" ", " /v1", 1) for each in SCOPES}
    assert routes - OPEN == table
    assert set(SCOPES.values()) == {*keys.SCOPES, ANY}


def test_a_key_passes_where_it_has_the_scope_and_nowhere_else(
    routes: set[str], clients: dict[str, httpx.Client]
):
    for route in sorted(routes - OPEN):
        method, path = route.split(" ")
        needed = SCOPES[f"{method} {path.removeprefix('/v1')}"]
        path = re.sub(r"\{[a-z_]+\}", "none", path)
        for scope, client in clients.items():
            answer = client.request(method, path)
            if needed == ANY or scope in (needed, "admin"):
                assert answer.status_code not in (401, 403), (route, scope, answer.text)
                assert answer.status_code < 500, (route, scope, answer.text)
            else:
                refused = problem(answer, 403, "scope_missing")
                assert refused["scope"] == needed, (route, scope)
                assert f"needs {needed}" in refused["detail"]


def test_probes_and_metrics_ask_for_no_key(guarded: Service):
    with sending(guarded, None) as client:
        for route in OPEN:
            assert client.get(route.split(" ")[1]).status_code == 200, route


def test_changing_things_is_never_a_matter_of_reading():
    harmless = {"POST /receipts/{receipt_id}/verify", "POST /images/search"}
    for route, scope in SCOPES.items():
        if not route.startswith("GET ") and route not in harmless:
            assert scope != "read", route


def test_a_route_without_a_scope_cannot_be_made():
    router = APIRouter(route_class=ScopedRoute)
    with pytest.raises(KeyError, match="GET /secrets"):
        router.get("/secrets")(lambda: None)


def test_a_router_with_a_route_of_another_class_cannot_be_included():
    router = APIRouter()
    router.get("/spaces")(lambda: None)
    with pytest.raises(TypeError, match="route_class=ScopedRoute"):
        checked(router)


def test_scopes_add_up_and_admin_has_all(guarded: Service):
    with by(guarded, "read", "predict") as client:
        assert client.get("/v1/spaces").status_code == 200
        problem(client.post("/v1/predictions"), 415, "unsupported_media_type")
        problem(client.post("/v1/datasets"), 403, "scope_missing")
    for scope in keys.SCOPES:
        check(Caller("key_a", frozenset({"admin"})), scope)
    with pytest.raises(Forbidden, match=r"key_a has scope predict, read .* needs train"):
        check(Caller("key_a", frozenset({"read", "predict"})), "train")


def test_an_upload_by_a_key_that_may_not_is_not_read(clients: dict[str, httpx.Client]):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 2**26:
            sent += 2**16
            yield bytes(2**16)

    head: dict[str, Any] = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = clients["read"].post("/v1/datasets", content=endless(), headers=head)
    problem(answer, 403, "scope_missing")
    assert sent < 2**26
