"""The commands that make, list and revoke keys, and the key of the settings."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from app import cli
from app.settings import Settings, read
from tests.support.keys import sending


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs a command on a data folder of the test's own; returns its status and its texts."""
    monkeypatch.delenv("TANGENT_DATABASE_URL", raising=False)

    def command(*arguments: str, folder=tmp_path / "data"):
        status = cli.main(["keys", *arguments, "--data-dir", str(folder)])
        said = capsys.readouterr()
        return status, said.out.strip(), said.err.strip()

    return command


def test_a_key_can_be_made_before_the_service_was_ever_started(run, tmp_path):
    status, token, told = run("create", "--name", "a", "--scopes", "read, predict")
    assert status == 0
    assert told.startswith(f"tangent: made a new store in the database sqlite:///{tmp_path}/data/")
    assert told.endswith("if there is one already, check TANGENT_DATA_DIR and TANGENT_DATABASE_URL")
    assert token.startswith("tc_key_") and len(token.splitlines()) == 1
    status, listed, _ = run("list")
    assert status == 0
    assert listed.split("\t") == [token.split("_")[1] and token[3:31], "valid", "read,predict", "a"]
    assert token not in listed
    assert run("create", "--name", "b", "--scopes", "read")[2] == ""  # it is there by now


def test_keys_of_the_command_line_are_those_of_the_service(run, serve):
    service = serve()
    folder = service.settings.data_dir
    token = run("create", "--name", "a", "--scopes", "read", folder=folder)[1]
    service.state.admission.keyring.forget()  # or two seconds later
    with sending(service, token) as client:
        assert client.get("/v1/spaces").status_code == 200
        status, said, _ = run("revoke", token[3:31], folder=folder)
        assert (status, said) == (0, f"{token[3:31]} is revoked")
        service.state.admission.keyring.forget()
        assert client.get("/v1/spaces").json()["code"] == "api_key_revoked"
    assert "\trevoked\t" in run("list", folder=folder)[1]


def test_json_has_one_key_a_line(run):
    limits = ("--requests-per-second", "2.5", "--max-datasets", "7")
    made = json.loads(run("create", "--name", "a", "--scopes", "admin", "--json", *limits)[1])
    run("create", "--name", "b", "--scopes", "read")
    listed = [json.loads(line) for line in run("list", "--json")[1].splitlines()]
    assert [key["name"] for key in listed] == ["a", "b"]
    assert made.pop("key").startswith(f"tc_{made['id']}_")
    assert listed[0] == made
    assert made["limits"]["requests_per_second"] == 2.5
    assert made["limits"]["max_datasets"] == 7


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
    ],
)
def test_an_expiry_may_be_told_from_now(run, given, expected):
    made = json.loads(
        run("create", "--name", "a", "--scopes", "read", "--expires", given, "--json")[1]
    )
    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert abs(lasts - expected) < timedelta(minutes=1)


def test_an_expiry_may_be_a_day_in_utc(run):
    arguments = ("create", "--name", "a", "--scopes", "read", "--expires", "2099-01-31", "--json")
    assert json.loads(run(*arguments)[1])["expires_at"] == "2099-01-31T00:00:00Z"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--scopes", "root"), "--scopes: Input should be 'read', 'predict', 'train' or 'admin'"),
        (("--scopes", "read", "--expires", "soon"), "--expires is 'soon': give a time such as"),
        (("--scopes", "read", "--expires", "2001-01-01"), "--expires: a key must expire in the"),
        (("--scopes", "read", "--max-bytes", "-1"), "--max-bytes: Input should be greater than"),
        (("--scopes", "read", "--max-bytes", "much"), "--max-bytes: Input should be a number"),
    ],
)
def test_flags_that_cannot_be_used_are_told_in_a_sentence(run, tmp_path, flags, sentence):
    status, said, fault = run("create", "--name", "a", *flags)
    assert (status, said) == (2, "")
    assert fault.startswith(f"tangent: {sentence}")
    assert not (tmp_path / "data").exists()


def test_a_key_that_does_not_exist_cannot_be_revoked(run):
    run("create", "--name", "a", "--scopes", "read")
    status, said, fault = run("revoke", "key_0")
    assert (status, said) == (1, "")
    assert "no key 'key_0'" in fault


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n\n", "\t"])
def test_the_line_end_of_the_settings_key_is_no_part_of_it(end, tmp_path):
    assert Settings(api_key=f"a-good-long-key{end}", data_dir=tmp_path).api_key == "a-good-long-key"


def test_the_key_of_a_file_with_a_line_end_answers(serve, monkeypatch):
    monkeypatch.setenv("TANGENT_API_KEY", "a-good-long-key\n")
    service = serve(api_key=read().api_key)
    with sending(service, "a-good-long-key") as client:
        assert client.get("/v1/limits").status_code == 200


@pytest.mark.parametrize("key", ["a-good\nlong-key", "a-good-long\0key", "a-good\x7flong-key"])
def test_a_settings_key_that_no_header_can_hold_is_refused(key):
    with pytest.raises(ValidationError, match="a header cannot hold"):
        Settings(api_key=key)


def test_a_key_of_blanks_is_none():
    assert Settings(api_key="   \n").api_key is None
