"""The login: an address and a key in a file that only its owner can read."""

import stat

import pytest

from tangent_composer import Client, environment
from tangent_composer.client import errors, login


def test_a_login_is_read_by_its_owner_only():
    file = login.store("http://host:8000/v1/", "a secret key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert login.address(None) == "http://host:8000"
    assert login.key_of("http://host:8000/") == "a secret key"
    assert login.key_of("http://other:8000") is None


def test_a_login_that_others_can_read_is_refused():
    file = login.store("http://host:8000", "a secret key")
    file.chmod(0o640)
    with pytest.raises(errors.BadInput, match=r"others have access to .*: chmod 600"):
        Client()


def test_a_damaged_login_is_refused():
    file = login.store("http://host:8000", "a secret key")
    file.write_text("{")
    with pytest.raises(errors.BadInput, match=r"is damaged: run `tangent login` again"):
        Client()


def test_what_is_given_comes_before_variables_and_these_before_the_login(monkeypatch):
    assert login.address(None) == login.DEFAULT
    login.store("http://stored:1", None)
    assert Client().url == "http://stored:1"
    monkeypatch.setenv(environment.URL, "http://variable:2")
    assert Client().url == "http://variable:2"
    assert Client("http://given:3").url == "http://given:3"
    monkeypatch.setenv(environment.URL, " ")
    assert Client().url == "http://stored:1"


def test_logging_in_without_a_key_forgets_the_one_there_was():
    login.store("http://host:8000", "a secret key")
    login.store("http://host:8000", None)
    assert login.key_of("http://host:8000") is None


@pytest.mark.parametrize(
    "damaged",
    [
        b"{",
        b"[1]",
        b"\xff\x00",
        b"[" * 100_000,
        b'{"url": 5}',
        b'{"keys": [1]}',
        b'{"keys": {"a": 5}}',
    ],
    ids=lambda text: repr(text[:20]),
)
def test_a_damaged_login_is_told_when_read_and_mended_when_stored(damaged):
    file = login.store("http://host:8000", "a secret key")
    file.write_bytes(damaged)
    with pytest.raises(errors.BadInput, match=r"is damaged: run `tangent login` again"):
        Client()
    assert login.store("http://other:1", "another key") == file
    assert (login.address(None), login.key_of("http://other:1")) == (
        "http://other:1",
        "another key",
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_empty_key_is_none_whatever_is_stored_or_set(monkeypatch):
    login.store("http://host:8000", "a secret key")
    monkeypatch.setenv(environment.API_KEY, "a variable's key")
    for given, sent in ((None, "Bearer a variable's key"), ("", None), ("own", "Bearer own")):
        with Client("http://host:8000", api_key=given) as client:
            assert client._transport._http.headers.get("Authorization") == sent
