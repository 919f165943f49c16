"""The end of `tangent serve` while a request computes in a thread that nothing can interrupt."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from app.cli.serve_command import _default_space
from app.inference.models import SpaceKey
from app.settings import BadSettings
from tangent.errors import UnknownScope
from tests.support.command import environment
from tests.support.stored import settings_of
from tests.support.workers import until

STUCK = """
import sys, time
from app.cli import api_server, serve_command
from app.settings import read
from app.store import lists

lists.datasets = lambda *_, **__: time.sleep(600)
api_server.GRACE_SECONDS = 1
settings = read(host="127.0.0.1", port=0, data_dir=sys.argv[1])
sys.exit(serve_command.serve(settings, with_worker=False))
"""


class WithoutSpaces:
    """An engine that opens none."""

    is_closed = False

    def open(self, key: SpaceKey) -> None:
        raise UnknownScope(f"no scope is called {key.scope!r}")

    def close(self) -> None:
        self.is_closed = True


def test_a_default_space_that_cannot_be_opened_names_its_settings(tmp_path: Path, migrated: Path):
    shutil.copytree(migrated, tmp_path / "data")
    engine = WithoutSpaces()
    settings = settings_of(tmp_path / "data").model_copy(update={"scope": "abc"})
    with pytest.raises(BadSettings, match=r"TANGENT_SCOPE 'abc'\): no scope is called 'abc'"):
        _default_space(settings, engine)
    assert engine.is_closed


TOLD = r"Tangent Composer answers: (http://\S+)/docs describes its API, a browser shows \1/\n"


def test_the_service_ends_although_a_request_computes_and_its_client_is_told(
    tmp_path: Path, migrated: Path
):
    shutil.copytree(migrated, tmp_path / "data")
    command = [sys.executable, "-c", STUCK, str(tmp_path / "data")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    answers: list[httpx.Response] = []
    try:
        assert process.stdout is not None
        line = re.fullmatch(TOLD, process.stdout.readline())
        assert line is not None, "programs read this line"
        with httpx.Client(base_url=line[1], timeout=120, trust_env=False) as client:
            ask = threading.Thread(target=lambda: answers.append(client.get("/v1/datasets")))
            ask.start()
            until(lambda: "requests_in_progress 2" in client.get("/metrics").text)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(60) == 0
            ask.join(60)
    finally:
        process.kill()
        process.communicate()
    assert answers[0].status_code == 503 and answers[0].json()["code"] == "service_ending"
