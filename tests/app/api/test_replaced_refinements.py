"""Refinements that are replaced while jobs use them, and those that failed and are tried again."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from app.database.sessions import hold_write_lock, transaction
from app.database.tables import Component
from app.errors import Conflict
from app.operations import pass_runner
from app.store import components, refinements, spaces
from app.store.members import require_unchanged
from tests.support.client import until_ended
from tests.support.merging import made, predict, show
from tests.support.refinements import ask, refined, stocked
from tests.support.service import Service

SECONDS = 60.0
KINDS = ("evaluations", "batch-predictions")


@pytest.fixture
def blocks(service: Service) -> Service:
    """A service with a space at a block scope and two components in it."""
    return stocked(service, {"cat": 4, "dog": 4}, {"cow": 5, "dog": 3})


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """An event before which no job begins to compute."""
    allowed = Event()

    def held(compute: Callable[..., None]) -> Callable[..., None]:
        def late(*given: Any) -> None:
            assert allowed.wait(SECONDS)
            compute(*given)

        return late

    jobs = {kind: held(compute) for kind, compute in pass_runner.COMPUTE.items()}
    monkeypatch.setattr(pass_runner, "COMPUTE", jobs)
    yield allowed
    allowed.set()


def queued(service: Service, kind: str, **selection: Any) -> str:
    """Queue a job by rule joint on a new dataset; return its path without /v1."""
    body = {"dataset_id": service.dataset({"cat": 2, "cow": 2}, start=50)} | selection
    answer = service.client.post(f"/v1/{kind}", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["joint"] == "refined"
    return f"{kind}/{answer.json()['id']}"


def grow(service: Service, label: str) -> None:
    """Add a component, for which the refinement of all others is replaced."""
    service.component({label: 4, "owl": 3}, space="blocks")
    assert ask(service)["joint"] == "one_shot"


@pytest.mark.parametrize("kind", KINDS)
def test_a_refinement_that_a_job_uses_is_replaced_once_the_job_has_ended(blocks, go, kind):
    first = refined(blocks)["refinement"]["id"]
    job = queued(blocks, kind, space="blocks", rule="joint")

    grow(blocks, "hen")

    assert show(blocks, first)["status"] == "ready"
    go.set()
    ended = until_ended(blocks, job)
    assert (ended["status"], ended["error"], ended["joint"]) == ("ready", None, "refined")
    grow(blocks, "yak")
    assert show(blocks, first)["status"] == "cancelled"


def test_a_refinement_of_a_composition_that_was_deleted_goes_with_the_next_that_is_replaced(
    blocks, go
):
    parts = [{"id": id_, "weight": weight} for id_, weight in zip(blocks.made, (1, 2), strict=True)]
    body = {"space": "blocks", "rule": "joint", "components": parts}
    assert blocks.client.put("/v1/compositions/two", json=body).status_code == 201
    first = made(blocks, predict(blocks, composition="two").json()["refinement"]["id"])
    job = queued(blocks, "evaluations", composition="two")

    assert blocks.client.delete("/v1/compositions/two").status_code == 204

    assert show(blocks, first)["status"] == "ready"
    go.set()
    assert until_ended(blocks, job)["status"] == "ready"
    ask(blocks)  # queues a refinement of all components, after looking at what it replaces
    assert show(blocks, first)["status"] == "cancelled"


def test_a_refinement_without_its_file_is_no_part_of_a_job(blocks):
    first, state = refined(blocks)["refinement"]["id"], blocks.state
    part = {"id": first, "sha256": show(blocks, first)["sha256"]}
    with transaction(state.sessions) as session:
        hold_write_lock(session)
        require_unchanged(session, [part], None)
        refinements.replace(session, state.blobs, spaces.get(session, "blocks"), None)

    told = f"component {first} is a refinement that was replaced in the meantime.*: ask again"
    with transaction(state.reading) as session, pytest.raises(Conflict, match=told) as refused:
        require_unchanged(session, [part], None)
    assert refused.value.code == "selection_changed"


def count(service: Service) -> int:
    """Return the number of all components' rows, replaced ones too."""
    with transaction(service.state.reading) as session:
        return session.query(Component).count()


def fail(service: Service, component_id: str) -> None:
    """End a queued derivation as a worker does that lacks memory."""
    with transaction(service.state.sessions) as session:
        assert components.start(session, component_id, executor_id="test")
        assert components.fail(session, component_id, code="training_died", detail="no memory")


def test_a_refinement_that_failed_is_tried_again_by_the_first_answer_after_an_hour(
    blocks, monkeypatch
):
    assert timedelta(hours=1) == refinements.RETRY_AFTER
    first = ask(blocks)["refinement"]["id"]
    fail(blocks, first)
    assert ask(blocks)["refinement"] == {"id": first, "status": "failed"}
    rows = count(blocks)

    monkeypatch.setattr(refinements, "RETRY_AFTER", timedelta(0))

    assert ask(blocks)["refinement"] == {"id": first, "status": "queued"}
    assert count(blocks) == rows
    assert show(blocks, first)["retraining"] is False
    made(blocks, first)
    assert ask(blocks)["joint"] == "refined"


def test_a_refinement_that_goes_on_failing_is_tried_more_and_more_rarely(blocks, monkeypatch):
    first, hour = ask(blocks)["refinement"]["id"], refinements.RETRY_AFTER
    rows = count(blocks)
    for waits in (1, 2, 4, 8, 16, 32, 32, 32):
        fail(blocks, first)
        with transaction(blocks.state.reading) as session:
            failed = components.get(session, first)
            moment = failed.finished_at
        monkeypatch.setattr(refinements, "now", lambda at=moment + 0.99 * waits * hour: at)
        assert ask(blocks)["refinement"] == {"id": first, "status": "failed"}
        monkeypatch.setattr(refinements, "now", lambda at=moment + waits * hour: at)
        assert ask(blocks)["refinement"] == {"id": first, "status": "queued"}
    assert count(blocks) == rows


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_derivation_of_a_client_that_did_not_end_well_keeps_no_refinement_away(blocks, how):
    parents = [{"id": each} for each in blocks.made]
    body = {"operator": "refine", "parents": parents}
    theirs = blocks.client.post("/v1/components/derive", json=body).json()["id"]
    if how == "failed":
        fail(blocks, theirs)
    else:
        assert blocks.client.post(f"/v1/components/{theirs}/cancel").status_code == 200

    own = ask(blocks)["refinement"]

    assert own["id"] != theirs and own["status"] == "queued"
    assert show(blocks, theirs)["status"] == how
