"""Settings as environments really give them: empty, quoted, with blanks, or of somebody else."""

import re
from pathlib import Path

import pytest

from app.settings import BadSettings, read


def given(monkeypatch: pytest.MonkeyPatch, **variables: str):
    """Return the settings of an environment with these variables only."""
    for name in ("HOST", "PORT", "API_KEY", "DATABASE_URL", "THREADS", "SCOPE", "DEVICE"):
        monkeypatch.delenv(f"TANGENT_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"TANGENT_{name.upper()}", value)
    return read()


@pytest.mark.parametrize(
    ("name", "default"),
    [
        *(("port", 8000), ("device", "auto"), ("data_dir", Path("data"))),
        *(("receipt_key_file", None), ("open_metrics", True), ("max_labels", 1000)),
    ],
)
def test_an_empty_variable_is_none(monkeypatch, name, default):
    assert getattr(given(monkeypatch, **{name: " "}), name) == default


@pytest.mark.parametrize("name", ["api_key", "database_url"])
def test_an_empty_secret_is_refused(monkeypatch, name):
    """Without it, the service would answer everybody, or from another database."""
    with pytest.raises(BadSettings, match=rf"TANGENT_{name.upper()} is \*\*\*"):
        given(monkeypatch, **{name: ""})


def test_a_service_of_kubernetes_may_be_called_tangent(monkeypatch):
    """For a Service of this name, every pod gets TANGENT_PORT and others like it."""
    links = {"port": "tcp://10.96.0.12:8000", "port_8000_tcp": "tcp://10.96.0.12:8000"}
    assert given(monkeypatch, **links, service_host="10.96.0.12").port == 8000


def test_blanks_around_a_value_are_no_part_of_it(monkeypatch):
    found = given(monkeypatch, data_dir="/srv/data\n", device=" cpu", api_key="k" * 20 + "\r\n")
    assert (found.data_dir, found.device, found.api_key) == (Path("/srv/data"), "cpu", "k" * 20)


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert given(monkeypatch, data_dir="~/tangent").data_dir == Path("/home/ada/tangent")


@pytest.mark.parametrize("name", ["host", "port", "api_key", "allowed_origins"])
def test_quotes_around_a_value_are_told(monkeypatch, name):
    with pytest.raises(BadSettings, match=f"TANGENT_{name.upper()} is .*it has quotes around it"):
        given(monkeypatch, **{name: '"12345678"'})


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"host": "http://127.0.0.1"}, "is no name of a host"),
        ({"host": "127.0.0.1:8000"}, "'127.0.0.1:8000' ends in a port"),
        ({"allowed_hosts": "b.example,https://a.example/"}, "'https://a.example/' is no name of"),
        ({"allowed_hosts": "a.example:8000"}, "'a.example:8000' ends in a port"),
        ({"allowed_origins": "https://a.example/"}, "'https://a.example/' is no origin"),
        ({"allowed_origins": "a.example"}, "'a.example' is no origin"),
        ({"allowed_origins": '["https://a.example"]'}, "is no origin"),
        ({"api_key": "schlüssel"}, "a header cannot hold every character of it"),
        ({"api_key": "Bearer 12345678"}, "it begins with Bearer"),
        ({"data_dir": "~nobody-here/data"}, "there is no such user's home folder"),
        ({"database_url": "postgresql://u:secr@t@h/x"}, "its password has an @"),
        ({"database_url": "sqlite://"}, "it names a database in memory"),
        ({"database_url": "sqlite:///:memory:"}, "it names a database in memory"),
    ],
)
def test_a_value_that_could_not_work_is_told(monkeypatch, variables, sentence):
    with pytest.raises(BadSettings, match=re.escape(sentence)) as told:
        given(monkeypatch, **variables)
    assert not re.search("secr|schlüssel", str(told.value))


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_have_brackets(monkeypatch, host):
    assert given(monkeypatch, host=host).host == "::1"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRESQL"])
def test_postgres_is_reached_through_psycopg(monkeypatch, scheme):
    found = given(monkeypatch, database_url=f"{scheme}://u:p%40@h/x")
    assert found.sql_url == "postgresql+psycopg://u:p%40@h/x"
