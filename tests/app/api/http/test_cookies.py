"""The cookie of a browser's session: what it is set with, and what is no such cookie."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.browser_sessions import COOKIE, attributes, begin, upload
from tests.support.keys import made
from tests.support.problems import problem
from tests.support.service import Service, plain_client
from tests.support.statements import noted_statements

SCOPE = "head"
OTHER_TOKEN = f"tcs_{'0' * 64}"
KEY = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.fixture
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(api_key=KEY)


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={token}"}


def test_the_cookie_is_for_this_site_alone_and_out_of_scripts_reach(guarded):
    answer = guarded.client.post("/session", json={"key": KEY})
    found = attributes(answer)
    assert re.fullmatch(r"tcs_[0-9a-f]{64}", found.pop("value"))
    seconds = guarded.settings.session_seconds
    assert seconds - 60 < int(found.pop("max-age")) <= seconds
    assert found == {"httponly": None, "samesite": "strict", "path": "/"}
    ends = datetime.fromisoformat(answer.json()["expires_at"])
    assert abs(ends - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https"},  # of a proxy on this machine
        {"Origin": "https://models.example", "Host": "models.example"},  # of a silent proxy
    ],
)
def test_behind_a_proxy_that_ends_tls_the_cookie_goes_over_https_only(guarded, headers):
    answer = guarded.client.post("/session", json={"key": KEY}, headers=headers)
    assert "secure" in attributes(answer)
    ended = guarded.client.delete("/session", headers=headers)
    assert "secure" in attributes(ended)


def test_over_plain_http_on_loopback_the_cookie_works_without_tls(guarded):
    origin = {"Origin": guarded.url}
    answer = guarded.client.post("/session", json={"key": KEY}, headers=origin)
    assert "secure" not in attributes(answer)


def test_below_a_prefix_the_cookie_goes_to_what_is_below_it(serve):
    below = serve(api_key=KEY, root_path="/models/tangent")
    for sent in ("", "/models/tangent"):
        answer = below.client.post(f"{sent}/session", json={"key": KEY})
        assert attributes(answer)["path"] == "/models/tangent"
    with plain_client(below.url) as client:
        begin(client, KEY)
        assert client.get("/models/tangent/v1/datasets").status_code == 200


def test_neither_token_nor_key_is_anywhere_in_the_data_folder_or_the_log(guarded, caplog):
    caplog.set_level(0)
    key = made(guarded, "admin")["key"]
    with plain_client(guarded.url) as client:
        session = begin(client, key)
        client.headers["X-CSRF-Token"] = session["csrf_token"]
        assert upload(client).status_code == 201
        token = client.headers["Cookie"].partition("=")[2]
    secrets = [token.partition("_")[2], session["csrf_token"], key.rpartition("_")[2]]
    for path in Path(guarded.settings.data_dir).rglob("*"):
        if path.is_file():
            assert not [each for each in secrets if each.encode() in path.read_bytes()], path
    lines = [each.getMessage() for each in caplog.records if not each.name.startswith("http")]
    assert lines and not [each for each in secrets if each in "\n".join(lines)]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        OTHER_TOKEN[:-1],
        OTHER_TOKEN + "0",
        OTHER_TOKEN.upper(),
        f'"{OTHER_TOKEN}"',
        "tcs_" + "é" * 64,
        "tcs_" + "٣" * 64,
        "tcs_" + "0" * 60_000,
        "; ".join(f"{COOKIE}={number}" for number in range(2000)),
        "%00",
        "' OR 1=1 --",
    ],
    ids=[
        *("empty", "short", "cut", "long", "upper case", "quoted", "letters", "digits of others"),
        *("huge", "many", "escaped NUL", "SQL"),
    ],
)
def test_a_cookie_that_cannot_be_a_sessions_is_as_none(guarded, value):
    asked = noted_statements(guarded)
    with plain_client(guarded.url) as client:
        headers = {b"Cookie": f"{COOKIE}={value}".encode()}
        problem(client.get("/v1/datasets", headers=headers), 401, "api_key_missing")
        assert client.get("/session", headers=headers).json()["authenticated"] is False
        assert client.delete("/session", headers=headers).status_code == 204
        key = {b"Authorization": f"Bearer {KEY}".encode()}
        assert client.get("/session", headers=headers | key).status_code == 200
    assert not [each for each in asked if "browser_session" in each]


def test_a_well_formed_token_of_no_session_is_a_session_that_has_ended(guarded):
    with plain_client(guarded.url) as client:
        refused = client.get("/v1/datasets", headers=cookie(OTHER_TOKEN))
        assert "POST /session" in problem(refused, 401, "session_ended")["detail"]
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert client.delete("/v1/datasets/none", headers=cookie(OTHER_TOKEN)).status_code == 401
        shown = client.get("/session", headers=cookie(OTHER_TOKEN))
        assert shown.json()["authenticated"] is False
        assert attributes(shown)["max-age"] == "0"  # the browser need not send it again


def test_of_several_cookies_of_the_name_the_first_that_is_a_sessions_counts(guarded):
    """A browser sends those of other services on this host too, in an order of its own."""
    first, second = made(guarded, "read"), made(guarded, "read")
    with plain_client(guarded.url) as client:
        tokens = []
        for key in (first, second):
            begin(client, key["key"])
            tokens.append(client.headers.pop("Cookie").partition("=")[2])
        for order, expected in (
            ([OTHER_TOKEN, tokens[0]], first),
            ([tokens[1], tokens[0]], second),
            (["junk", OTHER_TOKEN, OTHER_TOKEN, tokens[0], tokens[1]], first),
        ):
            together = "; ".join(f"a=b; {COOKIE}={token}" for token in order)
            apart = [("Cookie", f"{COOKIE}={token}") for token in order]
            for headers in ({"Cookie": together}, apart):
                shown = client.get("/session", headers=headers).json()
                assert shown["key"]["id"] == expected["id"]
                assert client.get("/v1/datasets", headers=headers).status_code == 200


def test_only_a_few_cookies_of_the_name_are_looked_up(guarded):
    asked = noted_statements(guarded)
    many = "; ".join(f"{COOKIE}=tcs_{number:064x}" for number in range(500))
    with plain_client(guarded.url) as client:
        problem(client.get("/v1/datasets", headers={"Cookie": many}), 401, "session_ended")
    assert len([each for each in asked if "FROM browser_session" in each]) <= 4
