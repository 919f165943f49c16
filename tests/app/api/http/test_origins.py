"""Web pages of others reach nothing: names are listed, and changes come from no foreign page."""

import errno
import socket
from typing import Any

import pytest

from app.api.http.origins import allows_host, fault
from app.settings import BadSettings, Settings, read
from tests.support.archives import archive
from tests.support.problems import problem
from tests.support.service import KEY_FREE as FREE
from tests.support.service import Service

SCOPE = "head"
EVIL = "http://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST"}


def settings(**given: Any) -> Settings:
    return Settings(**FREE | given)


@pytest.mark.parametrize(
    ("host", "given", "allowed"),
    [
        ("localhost", {}, True),
        ("LocalHost:8000", {}, True),
        ("127.0.0.1:8000", {}, True),
        ("127.1.2.3", {}, True),
        ("[::1]:8000", {}, True),
        ("tangent:8000", {}, True),  # a name of this machine's own network
        ("a.localhost", {}, True),
        ("evil.example", {}, False),
        ("evil.example:8000", {}, False),
        ("localhost.evil.example", {}, False),
        ("127.0.0.1.evil.example", {}, False),
        ("localhost@evil.example", {}, False),
        ("evil.example/localhost", {}, False),
        ("10.0.0.7", {}, False),
        ("[fe80::1]", {}, False),
        ("localhost:port", {}, False),
        ("", {}, False),
        ("models.example", {"allowed_hosts": "a.example, Models.example"}, True),
        ("b.example", {"allowed_hosts": "a.example"}, False),
        ("localhost", {"allowed_hosts": "a.example"}, True),
        ("evil.example", {"api_key": "k" * 20}, True),  # a page has no key
        ("evil.example", {"api_key": "k" * 20, "allowed_hosts": "a.example"}, False),
        ("10.0.0.7:1", {"api_key": "k" * 20, "allowed_hosts": "a", "host": "10.0.0.7"}, True),
    ],
)
def test_the_names_that_a_service_answers_by(host: str, given: dict, allowed: bool) -> None:
    assert allows_host(host, settings(**given)) is allowed


@pytest.mark.parametrize(
    "given", [{"allowed_hosts": "*"}, {"allowed_hosts": "a,*"}, {"allowed_origins": "*"}]
)
def test_any_name_or_origin_is_no_setting_without_a_key(given: dict) -> None:
    with pytest.raises(BadSettings, match="list the "):
        read(**FREE | given)


def code(method: str, headers: list[tuple[str, str]], **given: Any) -> str | None:
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
    found = fault({"method": method, "headers": encoded}, settings(**given))
    return None if found is None else found.code


LOCAL = ("Host", "localhost:8000")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        ([("Sec-Fetch-Site", "none")], None),
        ([("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", "same-origin")], None),
        ([("Origin", "http://ui.example"), ("Sec-Fetch-Site", "cross-site")], None),
        ([("Origin", "HTTP://ui.example")], None),
        ([("Origin", EVIL)], "cross_site"),
        ([("Origin", "null")], "cross_site"),
        ([("Origin", "")], "cross_site"),
        ([("Origin", "http://localhost:9000")], "cross_site"),
        ([("Origin", "http://localhost")], "cross_site"),
        ([("Origin", "file://")], "cross_site"),
        ([("Origin", "http://ui.example.evil.example")], "cross_site"),
        ([("Origin", "http://[")], "cross_site"),
        ([("Sec-Fetch-Site", "cross-site")], "cross_site"),
        ([("Sec-Fetch-Site", "same-site")], "cross_site"),
        ([("Origin", "http://ui.example"), ("Origin", EVIL)], "cross_site"),
        ([("Host", "localhost")], "malformed_request"),
        ([("Content-Length", "1"), ("Transfer-Encoding", "chunked")], "ambiguous_length"),
    ],
)
def test_what_changes_something_comes_from_no_foreign_page(headers: list, expected: str) -> None:
    given = {"allowed_origins": "http://ui.example"}
    for method in ("POST", "PUT", "PATCH", "DELETE", "BREW"):
        assert code(method, [LOCAL, *headers], **given) == expected
        assert code(method, [LOCAL, *headers], **given, api_key="k" * 20) == expected
    if expected in (None, "cross_site"):
        assert code("GET", [LOCAL, *headers], **given) is None


def test_behind_a_proxy_that_ends_tls_the_own_page_is_the_own_page() -> None:
    own = [("Host", "models.example"), ("Origin", "https://models.example")]
    assert code("POST", own, allowed_hosts="models.example") is None


def test_a_page_of_another_site_changes_nothing_and_reads_nothing(shared: Service) -> None:
    files = {"file": ("a.zip", archive({"cat/1.png": b"x"}), "application/zip")}
    sent = shared.client.post("/v1/datasets", files=files, headers={"Origin": EVIL})
    problem(sent, 403, "cross_site")
    for headers in ({"Host": "evil.example"}, {"Host": "evil.example", "Origin": EVIL}):
        answer = shared.client.get("/v1/datasets", headers=headers)
        document = problem(answer, 421, "host_not_allowed")
        assert "TANGENT_ALLOWED_HOSTS" in document["detail"]
        problem(shared.client.get("/livez", headers=headers), 421, "host_not_allowed")
    assert shared.client.get("/v1/datasets").json()["data"] == []


def test_a_path_with_a_slash_at_its_end_is_no_route_and_redirects_nobody(shared: Service) -> None:
    for host in ("localhost", "evil.example"):
        answer = shared.client.get("/v1/limits/", headers={"Host": host}, follow_redirects=False)
        problem(answer, 404, "route_not_found")
    problem(shared.client.post("/v1/datasets/"), 404, "route_not_found")


def test_a_preflight_is_granted_to_listed_origins_only(serve) -> None:
    service = serve(allowed_origins="http://ui.example")
    granted = service.client.options(
        "/v1/predictions",
        headers={
            "Origin": "http://ui.example",
            "Access-Control-Request-Headers": "content-type,authorization",
            **PREFLIGHT,
        },
    )
    refused = service.client.options("/v1/predictions", headers={"Origin": EVIL, **PREFLIGHT})
    assert granted.status_code == 200 and refused.status_code == 204
    assert granted.headers["Access-Control-Allow-Origin"] == "http://ui.example"
    assert not {name for name in refused.headers if name.startswith("access-control")}
    read = service.client.get("/v1/limits", headers={"Origin": "http://ui.example"})
    assert read.headers["Access-Control-Allow-Origin"] == "http://ui.example"
    assert "Origin" in read.headers["Vary"] and "cross-origin-resource-policy" not in read.headers
    asked = service.client.post("/v1/predictions", headers={"Origin": "http://ui.example"})
    assert asked.status_code == 415


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("unforeseen"), 500, "internal_error"),
        (OSError(errno.EIO, "unreadable"), 503, "storage_unavailable"),
    ],
)
def test_a_page_may_read_that_its_request_failed(
    serve, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    service, page = serve(allowed_origins="http://ui.example"), {"Origin": "http://ui.example"}

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("app.api.spaces.lists.spaces", fail)
    answer = service.client.get("/v1/spaces", headers=page)
    problem(answer, status, code)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://ui.example"
    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
    assert len(answer.headers.get_list("X-Request-Id")) == 1
    foreign = service.client.get("/v1/spaces", headers={"Origin": EVIL})
    assert "Access-Control-Allow-Origin" not in foreign.headers


def test_options_and_a_refused_method_name_all_methods_of_the_path(shared: Service) -> None:
    expected = {"GET", "HEAD", "OPTIONS", "POST"}
    listed = shared.client.options("/v1/datasets")
    refused = shared.client.put("/v1/datasets")
    problem(refused, 405, "method_not_allowed")
    for answer in (listed, refused):
        assert set(answer.headers["Allow"].split(", ")) == expected
    item = shared.client.options("/v1/datasets/ds_1").headers["Allow"]
    assert {"GET", "DELETE"} <= set(item.split(", "))
    problem(shared.client.options("/v1/nothing"), 404, "route_not_found")


def test_a_body_of_two_lengths_ends_the_connection(shared: Service) -> None:
    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 20) as line:
        line.sendall(
            b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + b"GET /livez HTTP/1.1\r\n\r\n"
        )
        data = b""
        while piece := line.recv(2**16):
            data += piece
    assert data.startswith(b"HTTP/1.1 400") and b"ambiguous_length" in data
    assert data.count(b"HTTP/1.1 ") == 1


def test_every_answer_says_what_a_browser_must_not_do(shared: Service) -> None:
    for path in ("/livez", "/v1/datasets", "/v1/none", "/docs", "/redoc", "/openapi.json", "/none"):
        headers = shared.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert ("no-store" in headers.get("Cache-Control", "")) is path.startswith("/v1/")


def test_the_pages_may_run_the_scripts_that_they_have_and_no_others(shared: Service) -> None:
    for path in ("/docs", "/redoc"):
        answer = shared.client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
        assert "'unsafe-inline'" not in scripts and "'self'" in scripts
        assert scripts.count("'sha256-") == answer.text.count("<script>")
