"""Who computes an evaluation or a batch prediction when processes die, stop, end and come back."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.database.sessions import transaction
from app.database.tables import BatchPrediction, Evaluation
from app.operations import pass_runner
from app.operations.pass_runner import Runner
from app.passes.queue import KINDS
from tests.support.client import until_ended
from tests.support.images import archive
from tests.support.keys import wait_for
from tests.support.service import Service
from tests.support.serving_processes import serving_unasked

SCOPE = "head"
DEAD_SECONDS = 1.0
HELD_MS = 4000.0  # that a process waits for more images of a batch, so that a chunk takes as long

PATIENCE = 120.0  # seconds, for what takes a few on an idle machine

Serve = Callable[..., Service]


class Claims:
    """The claims of this process's runners, which may be forbidden."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allowed = False
        claim = Runner.claim

        def if_allowed(runner: Runner) -> Any:
            return claim(runner) if self.allowed else None

        monkeypatch.setattr(Runner, "claim", if_allowed)


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> Claims:
    """Runners of this process that claim nothing until they may."""
    return Claims(monkeypatch)


@pytest.fixture(params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest, claims: Claims, serve: Serve) -> Service:
    """A service with a component, on each kind of database, whose runners wait."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    made = serve(
        database_url=url,
        lease_seconds=0.5,
        worker_dead_seconds=DEAD_SECONDS,
        worker_heartbeat_seconds=0.1,
        max_attempts=2,
    )
    made.component({"cat": 3, "dog": 3})
    return made


def other(here: Service, **settings: Any) -> Any:
    """Run another process on the store, which takes some seconds for a chunk."""
    given = {"max_wait_ms": HELD_MS, "max_batch_size": 8} | settings
    return serving_unasked(here.settings.model_copy(update=given))


def evaluation(here: Service) -> str:
    """Queue an evaluation; return its path."""
    body = {"dataset_id": here.dataset({"cat": 2, "dog": 1}, start=50)}
    return f"evaluations/{here.client.post('/v1/evaluations', json=body).json()['id']}"


def of_archive(here: Service) -> str:
    """Queue the prediction of an archive; return its path."""
    files = {"file": ("images.zip", archive({"cat": 2, "dog": 1}, 50))}
    made = here.client.post("/v1/batch-predictions", files=files).json()
    return f"batch-predictions/{made['id']}"


QUEUE = {"evaluation": evaluation, "batch_prediction": of_archive}


@pytest.fixture
def path(here: Service) -> str:
    """One of each kind, on one kind of database each: its path."""
    return QUEUE["evaluation" if here.settings.database_url else "batch_prediction"](here)


def row(here: Service, path: str) -> Any:
    table = KINDS["evaluation" if path.startswith("evaluations") else "batch_prediction"]
    with transaction(here.state.reading) as session:
        return session.get_one(table, path.rpartition("/")[2])


def wait_until_computed(here: Service, path: str) -> None:
    """Wait until some process has begun, and given a sign of life."""

    def is_computed() -> bool:
        found = row(here, path)
        return found.status == "running" and found.beats > 0

    wait_for(is_computed, PATIENCE)


def checked(here: Service, path: str, *, attempt: int) -> dict[str, Any]:
    """Return the finished one, after checking that it is whole and has left nothing behind."""
    found = until_ended(here, path)
    assert (found["status"], found["progress"]) == ("ready", {"done": 3, "total": 3}), found
    assert row(here, path).attempt == attempt
    if path.startswith("batch"):
        assert len(here.client.get(f"/v1/{path}/results").text.splitlines()) == 3
        names = [key.rpartition("/")[2] for key in here.state.blobs.keys("batch_predictions")]
        assert names == [f"results-{attempt}.csv", f"results-{attempt}.jsonl"]
    else:
        assert found["num_images"] == 3
    return found


def test_what_a_killed_process_has_begun_is_finished_by_another_one_once(
    here: Service, claims: Claims, path: str
) -> None:
    with other(here) as killed:
        wait_until_computed(here, path)
        killed.kill()
        killed.join()
        assert row(here, path).status == "running"
        claims.allowed = True
        checked(here, path, attempt=2)
    assert row(here, path).lost == 1


def test_a_process_that_was_stopped_and_comes_back_publishes_nothing(
    here: Service, claims: Claims, path: str
) -> None:
    with other(here) as stopped:
        wait_until_computed(here, path)
        os.kill(stopped.pid, signal.SIGSTOP)
        claims.allowed = True
        found = checked(here, path, attempt=2)
        claims.allowed = False
        os.kill(stopped.pid, signal.SIGCONT)
        # It goes on with its chunk, finds that it has lost, and takes the next one.
        following = evaluation(here)
        wait_until_computed(here, following)
        checked(here, path, attempt=2)
        assert here.client.get(f"/v1/{path}").json() == found


def test_a_process_that_ends_hands_back_what_it_computes(
    here: Service, claims: Claims, path: str
) -> None:
    with other(here) as ending:
        wait_until_computed(here, path)
        began = time.monotonic()
        ending.terminate()
        ending.join(30)
        assert ending.exitcode == 0
        assert time.monotonic() - began < HELD_MS / 1000 + 5
        found = row(here, path)
        assert (found.status, found.holder, found.lost) == ("queued", None, 0)
    claims.allowed = True
    checked(here, path, attempt=2)


def test_a_start_takes_up_what_was_left_before(here: Service, path: str) -> None:
    with other(here) as killed:
        wait_until_computed(here, path)
        killed.kill()
        killed.join()
    with other(here, max_wait_ms=0):
        checked(here, path, attempt=2)


def test_what_ends_its_process_again_and_again_fails(
    here: Service, claims: Claims, path: str
) -> None:
    for attempt in (1, 2):
        with other(here) as killed:
            wait_for(lambda number=attempt: row(here, path).attempt == number, PATIENCE)
            killed.kill()
            killed.join()
    claims.allowed = True
    found = until_ended(here, path)
    assert (found["status"], found["error"]["code"]) == ("failed", "job_died")
    assert list(here.state.blobs.keys("batch_predictions")) == []


def test_two_processes_share_what_is_queued_and_compute_nothing_twice(
    here: Service, claims: Claims, serve: Serve
) -> None:
    paths = [QUEUE[kind](here) for kind in QUEUE for _ in range(4)]
    known = here.settings.model_dump(exclude={"port"})
    serve(**known | {"worker_dead_seconds": 60.0})
    claims.allowed = True
    for each in paths:
        assert until_ended(here, each)["status"] == "ready"
    assert {row(here, each).attempt for each in paths} == {1}
    with transaction(here.state.reading) as session:
        assert {table: session.query(table).count() for table in (Evaluation, BatchPrediction)} == {
            Evaluation: 4,
            BatchPrediction: 4,
        }


def test_a_deletion_by_another_process_ends_what_this_one_computes(
    here: Service, claims: Claims, path: str
) -> None:
    part = here.client.get("/v1/components").json()["data"][0]["id"]
    with other(here):
        wait_until_computed(here, path)
        receipt = here.client.delete(f"/v1/components/{part}").json()
        found = until_ended(here, path)
        assert (found["status"], found["invalidated_by"]) == ("invalidated", receipt["id"])
        time.sleep(HELD_MS / 1000 + 1)  # until the other one has come to its end
        assert here.client.get(f"/v1/{path}").json() == found
    assert list(here.state.blobs.keys("batch_predictions")) == []
    assert list(here.state.blobs.scratch.glob("bp_*")) == []


def test_a_short_one_does_not_wait_behind_a_long_one(
    serve: Serve, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_runner, "SHORT_IMAGES", 2)
    claims.allowed = True
    service = serve(max_wait_ms=HELD_MS, max_batch_size=8)
    service.component({"cat": 3, "dog": 3})
    long = evaluation(service)
    wait_for(lambda: row(service, long).status == "running")
    longer = evaluation(service)
    body = {"dataset_id": service.dataset({"cat": 2}, start=80)}
    short = f"evaluations/{service.client.post('/v1/evaluations', json=body).json()['id']}"
    wait_for(lambda: row(service, short).status == "running")
    assert row(service, longer).status == "queued"
    assert row(service, long).holder.endswith("/any")
    assert row(service, short).holder.endswith("/short")
