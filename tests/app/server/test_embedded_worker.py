"""The worker beside the API: a start that fails is tried again, and /readyz tells meanwhile."""

import subprocess
import sys
from typing import Any

import pytest

from app.server import embedded_worker
from app.server.embedded_worker import EmbeddedWorker
from app.settings import Settings
from tests.support.service import KEY_FREE, Service
from tests.support.workers import until


@pytest.fixture
def worker(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded_worker, "RESTART_SECONDS", (0.05, 0.1))
    made = EmbeddedWorker(Settings(**KEY_FREE | {"data_dir": tmp_path}))
    made._command = [sys.executable, "-c", "import time; time.sleep(600)"]
    yield made
    made.stop()


@pytest.mark.parametrize("error", [PermissionError, BlockingIOError, MemoryError])
def test_a_start_that_fails_is_tried_again(worker, monkeypatch, error: type[Exception]):
    tried, popen = [], subprocess.Popen

    def start(*given: Any, **named: Any) -> subprocess.Popen:
        tried.append(worker.fault)
        if len(tried) < 4:
            raise error("no more processes")
        return popen(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", start)
    worker.start()
    until(lambda: len(tried) == 4 and worker.fault is None)
    assert tried[0] is None and "could not be started (no more processes)" in tried[3]


def test_a_worker_that_crashes_is_started_again_and_tells_why(worker):
    worker._command = [sys.executable, "-c", "import sys; sys.exit(3)"]
    worker.start()
    until(lambda: worker.fault is not None)
    assert worker.fault == "the worker ended with status 3"


def test_the_readiness_says_why_no_worker_runs(service: Service):
    shown = service.client.get("/readyz")
    assert shown.status_code == 200 and shown.json()["workers"] == 0
    assert shown.json()["workers_missing"].startswith("none: no worker gives a sign of life")
    service.app.state.worker_fault = lambda: "the worker could not be started (why)"
    told = service.client.get("/readyz").json()["workers_missing"]
    assert told == "none: the worker could not be started (why); trainings wait until one runs"
