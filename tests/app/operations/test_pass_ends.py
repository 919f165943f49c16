"""Ends and pauses of passes: the process stops, or something fails that may pass."""

import math
import signal
import threading
import time
from typing import Any

import pytest
import uvicorn

from app.cli import api_server
from app.cli.api_server import ApiServer
from app.database.outages import problem
from app.errors import NotReady
from app.inference.opened_spaces import OpenedSpaces
from app.operations import pass_pauses
from tests.support.batches import begun, sent
from tests.support.client import until_ended
from tests.support.held_passes import HeldPasses
from tests.support.images import archive
from tests.support.service import Service

SCOPE = "head"


class Failing:
    """The decoding of passes, which fails with this error so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception, times: float) -> None:
        self.left, self.failed = times, 0
        pixels = OpenedSpaces.pixels

        def failing(*given: Any, **more: Any) -> Any:
            if self.left > 0:
                self.left, self.failed = self.left - 1, self.failed + 1
                raise error
            return pixels(*given, **more)

        monkeypatch.setattr(OpenedSpaces, "pixels", failing)


@pytest.mark.parametrize(
    "code",
    [
        *("service_stopping", "decoding_busy", "out_of_resources", "storage_unavailable"),
        *("engine_late", "engine_restarting", "queue_full", "lease_expired", "selection_changing"),
    ],
)
def test_what_fails_for_a_reason_that_passes_is_computed_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 2}, start=20)
    failing = Failing(monkeypatch, NotReady(code, "not now"), 1)
    found = until_ended(service, begun(service, dataset_id=dataset_id))
    assert (found["status"], found["error"], failing.failed) == ("ready", None, 1)


def test_what_fails_again_and_again_is_tried_with_pauses_and_then_fails(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_pauses, "MAX_TRIES", 3)
    monkeypatch.setattr(pass_pauses, "SECONDS", (0.4, 0.4))
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 2}, start=20)
    failing = Failing(monkeypatch, problem("database_busy"), math.inf)
    began = time.monotonic()
    found = until_ended(service, begun(service, dataset_id=dataset_id))
    assert (found["status"], found["error"]["code"]) == ("failed", "database_busy")
    assert 3 <= failing.failed < 2 * 3  # by two runners
    assert time.monotonic() - began > 0.4


def test_a_damaged_database_is_told_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 2}, start=20)
    failing = Failing(monkeypatch, problem("database_damaged"), math.inf)
    found = until_ended(service, begun(service, dataset_id=dataset_id))
    assert (found["status"], found["error"]["code"]) == ("failed", "database_damaged")
    assert failing.failed == 1


def test_a_signal_to_end_hands_back_what_is_computed_before_the_requests_have_ended(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "_end_late", lambda: None)
    service.component({"cat": 3, "dog": 3})
    held = HeldPasses(monkeypatch)
    path = f"batch-predictions/{sent(service, archive({'cat': 2}, 9)).json()['id']}"
    held.wait_for_one()
    ended: list[bool] = []
    config = uvicorn.Config(service.app, log_config=None)
    server = ApiServer(config, lambda _: None, lambda: ended.append(True))
    server.handle_exit(signal.SIGTERM, None)
    assert ended == [True]
    end = time.monotonic() + 10
    while service.client.get(f"/v1/{path}").json()["status"] != "queued":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert len(list(service.state.blobs.keys("batch_predictions"))) == 1  # its archive
    held.go.set()


def test_a_request_that_waits_is_answered_when_the_process_begins_to_end(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 3, "dog": 3})
    body = {"dataset_id": service.dataset({"cat": 2}, start=20)}
    held = HeldPasses(monkeypatch)
    stop = threading.Thread(target=lambda: (held.wait_for_one(), service.app.state.end()))
    stop.start()
    began = time.monotonic()
    answer = service.client.post("/v1/evaluations", json=body, headers={"Prefer": "wait=40"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert time.monotonic() - began < 20
    stop.join()
    held.go.set()
