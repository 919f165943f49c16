"""Settings as environments really give them: empty, quoted, with blanks, or of somebody else."""

import os
import re
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import tangent_composer
from app.settings import BadSettings, Settings, read, remarks


def given(monkeypatch: pytest.MonkeyPatch, **variables: str):
    """Return the settings of an environment with these variables only."""
    for name in [each for each in os.environ if each.upper().startswith("TANGENT_")]:
        monkeypatch.delenv(name)
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
def test_an_empty_secret_is_none_and_that_is_told(monkeypatch, name):
    """Somebody may have meant to give it, where a compose file says ${NAME:-}."""
    assert getattr(given(monkeypatch, **{name: " "}), name) is None
    assert remarks() == [f"TANGENT_{name.upper()} is empty, which counts as not set"]


def test_an_address_of_other_machines_needs_a_key_that_is_not_empty(monkeypatch):
    with pytest.raises(BadSettings, match="reachable from other machines: set TANGENT_API_KEY"):
        given(monkeypatch, host="0.0.0.0", api_key="")


def test_a_service_of_kubernetes_may_be_called_tangent(monkeypatch):
    """For a Service of this name, every pod gets TANGENT_PORT and others like it."""
    address = "tcp://10.96.0.12:8000"
    links = {"port": address, "port_8000_tcp": address, "port_8000_tcp_proto": "tcp"}
    links |= {"service_host": "10.96.0.12", "service_port": "8000", "service_port_http": "8000"}
    links |= {"composer_port": address, "composer_service_host": "10.96.0.13"}
    assert given(monkeypatch, **links).port == 8000
    assert remarks() == []


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        (
            "TANGENT_PROT",
            "TANGENT_PROT is no setting, and has no effect: did you mean TANGENT_PORT?",
        ),
        ("TANGENT_DATADIR", "did you mean TANGENT_DATA_DIR?"),
        ("tangent_max_label", "did you mean TANGENT_MAX_LABELS?"),
        ("TANGENT_QQQQQQ", "docs/settings.md lists those that there are"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_nearest(monkeypatch, variable, told):
    given(monkeypatch)
    monkeypatch.setenv(variable, "1")
    (remark,) = remarks()
    assert remark.startswith(variable) and told in remark


def test_a_variable_of_the_client_is_none_of_those(monkeypatch):
    sources = [path.read_text() for path in Path(tangent_composer.__file__).parent.rglob("*.py")]
    for name in {each for text in sources for each in re.findall(r"TANGENT_([A-Z_]+)", text)}:
        assert given(monkeypatch, **{name: "http://127.0.0.1:8000"} if name == "URL" else {})
        assert name == "URL" or name.lower() in Settings.model_fields, name
        assert remarks() == []


def test_a_number_without_an_end_is_refused(monkeypatch):
    for value in ("inf", "nan", "1e999"):
        with pytest.raises(BadSettings, match="TANGENT_LEASE_SECONDS is"):
            given(monkeypatch, lease_seconds=value)


@pytest.mark.parametrize(
    "name", ["a b", "q?x=1", "h#sh", "p%20c", "é中", "at@b:c", "x?mode=memory", "b\\s", "a\nb"]
)
def test_the_database_lies_in_a_data_folder_of_any_name(tmp_path, name):
    folder = tmp_path / name
    url = read(data_dir=folder, host="127.0.0.1").sql_url
    folder.mkdir()
    with closing(create_engine(url).raw_connection()) as connection:
        connection.cursor().execute("CREATE TABLE t (x)")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in folder.iterdir()] == ["tangent.db"]


def test_blanks_around_a_value_are_no_part_of_it(monkeypatch):
    found = given(monkeypatch, data_dir="/srv/data\n", device=" cpu", api_key="k" * 20 + "\r\n")
    assert (found.data_dir, found.device, found.api_key) == (Path("/srv/data"), "cpu", "k" * 20)


def test_an_idle_connection_outlives_those_of_common_proxies(monkeypatch):
    """A proxy that sends a request on a connection which is just closed answers 502."""
    assert given(monkeypatch).keep_alive_seconds > 75  # nginx: 60 and 75, AWS: 60


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
        ({"host": "caf\udce9"}, "is no name of a host"),
        ({"threads": "9" * 20}, "less than or equal to 1024"),
        ({"database_timeout_seconds": "1e7"}, "less than or equal to 1000000"),
        ({"traces_url": "collector:4318"}, "it is no address of HTTP: write it as http://"),
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
        ({"device": "gpu"}, "torch cannot compute on a device 'gpu'"),
        ({"device": "cuda:x"}, "torch cannot compute on a device 'cuda:x'"),
        ({"database_url": "sqlite://"}, "it names a database in memory"),
        ({"database_url": "sqlite:///:memory:"}, "it names a database in memory"),
    ],
)
def test_a_value_that_could_not_work_is_told(monkeypatch, variables, sentence):
    with pytest.raises(BadSettings, match=re.escape(sentence)) as told:
        given(monkeypatch, **variables)
    assert not re.search("secr|schlüssel", str(told.value))


@pytest.mark.parametrize(
    "name",
    [
        *("worker_heartbeat_seconds", "worker_dead_seconds", "scrub_period_seconds"),
        *("lease_seconds", "max_decode_seconds", "client_seconds", "keep_alive_seconds"),
        "max_wait_ms",
    ],
)
def test_more_seconds_than_a_time_can_be_reckoned_with_are_refused(monkeypatch, name):
    sentence = f"TANGENT_{name.upper()} is .*less than or equal to 10*$"
    with pytest.raises(BadSettings, match=sentence):
        given(monkeypatch, **{name: "9" * 12})


def test_a_worker_that_misses_one_heartbeat_is_not_taken_for_dead(monkeypatch):
    sentence = "DEAD_SECONDS is 15 and TANGENT_WORKER_HEARTBEAT_SECONDS is 30: .* at least 2 times"
    with pytest.raises(BadSettings, match=f"^TANGENT_WORKER_{sentence}"):
        given(monkeypatch, worker_heartbeat_seconds="30")
    with pytest.raises(BadSettings, match=r"TANGENT_WORKER_DEAD_SECONDS is 3\.9 "):
        given(monkeypatch, worker_dead_seconds="3.9")
    kept = given(monkeypatch, worker_heartbeat_seconds="0.5", worker_dead_seconds="1")
    assert (kept.worker_heartbeat_seconds, kept.worker_dead_seconds) == (0.5, 1.0)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_have_brackets(monkeypatch, host):
    assert given(monkeypatch, host=host).host == "::1"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRESQL"])
def test_postgres_is_reached_through_psycopg(monkeypatch, scheme):
    found = given(monkeypatch, database_url=f"{scheme}://u:p%40@h/x")
    assert found.sql_url == "postgresql+psycopg://u:p%40@h/x"
