"""Tests on Postgres: skipped on a machine without it, failed in CI."""

import socket

import pytest

from tests.support.postgres import database


@pytest.fixture
def silent() -> str:
    """The URL of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"postgresql://postgres@127.0.0.1:{port}"


def test_in_ci_a_test_fails_with_the_reason_when_no_postgres_answers(monkeypatch, silent):
    monkeypatch.setenv("CI", "true")
    failed = pytest.raises(pytest.fail.Exception, match=r"must run this test on Postgres.*refused")
    with failed, database(silent):
        raise AssertionError("not reached")


@pytest.mark.parametrize("ci", ["", "false"])
def test_elsewhere_a_test_is_skipped_when_no_postgres_answers(monkeypatch, silent, ci):
    monkeypatch.setenv("CI", ci)
    skipped = pytest.raises(pytest.skip.Exception, match=r"no Postgres answers at .*refused")
    with skipped, database(silent):
        raise AssertionError("not reached")
