"""Lines of the log: one format for all processes, with the id of the request that they are of."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.server import logs
from app.settings import Settings
from tests.support.command import environment
from tests.support.workers import until

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def record(message: str, *given: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("app.part", logging.WARNING, __file__, 1, message, given, None)
    vars(made).update(more)
    return made


@pytest.fixture
def request_id() -> Iterator[str]:
    token = logs.REQUEST_ID.set("req_1")
    yield "req_1"
    logs.REQUEST_ID.reset(token)


def test_a_line_of_text_says_when_how_grave_who_and_what():
    time, line = logs.TextLines("worker").format(record("%d files", 3)).split(" ", 1)
    assert TIME.fullmatch(time)
    assert line == "WARNING worker app.part: 3 files"


def test_a_message_cannot_make_a_line_of_its_own(request_id: str):
    line = logs.TextLines("api").format(record("%s", "name\n2026 INFO api app: all is well\r"))
    assert line.splitlines() == [line]
    assert line.endswith(r"name\n2026 INFO api app: all is well\r [req_1]")


def test_a_line_of_json_has_its_fields_and_its_traceback(request_id: str):
    try:
        raise ValueError("é\n")
    except ValueError:
        fault = sys.exc_info()
    made = record("failed", exc_info=fault, fields={"status": 500})
    line = logs.JsonLines("api").format(made)
    assert line.splitlines() == [line]
    found = json.loads(line)
    assert TIME.fullmatch(found.pop("time"))
    assert "ValueError: é" in found.pop("traceback")
    assert found == {
        **{"level": "warning", "process": "api", "pid": os.getpid(), "logger": "app.part"},
        **{"message": "failed", "request_id": "req_1", "status": 500},
    }


def test_all_processes_of_a_service_write_json_and_end_together(tmp_path: Path, migrated: Path):
    shutil.copytree(migrated, tmp_path / "data")
    variables = environment(log_format="json", access_log="true", log_level="info")
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(tmp_path / "data")],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        url = re.search(r"(http://\S+)/$", process.stdout.readline())[1]
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            ident = client.get("/v1/spaces").headers["X-Request-Id"]
        while "takes trainings" not in (tmp_path / "log").read_text():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGTERM)  # as systemd sends it to all of a service
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {line["process"] for line in lines} == {"api", "worker"}
    said = [line["message"] for line in lines if line["process"] == "api"]
    for word in ("version", "data folder", "database", "backbone", "device", "worker"):
        assert any(message.startswith(f"{word} ") for message in said), word
    (answered,) = [line for line in lines if line["logger"] == "access"]
    assert answered["request_id"] == ident
    assert (answered["route"], answered["status"]) == ("/v1/spaces", 200)
    assert not any("started again" in message for message in said)


def test_without_the_setting_requests_have_no_line(caplog: pytest.LogCaptureFixture, service):
    assert not Settings().access_log
    with caplog.at_level(logging.DEBUG, "app"):
        service.client.get("/livez")
    assert not [each for each in caplog.records if each.name == "access"]


def test_with_it_each_has_one_with_its_route_and_no_path(caplog: pytest.LogCaptureFixture, service):
    with caplog.at_level(logging.INFO, "access"):
        service.client.get("/v1/datasets/ds_secret")
        until(lambda: any(each.name == "access" for each in caplog.records))
    (line,) = [each for each in caplog.records if each.name == "access"]
    assert re.fullmatch(
        r"GET /v1/datasets/\{dataset_id\} 404 in [\d.]+ ms by local", line.getMessage()
    )
