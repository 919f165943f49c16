"""Rows of passes that are damaged: nobody computes them, and they take no other's place."""

import time

import pytest

from app.database.sessions import transaction
from app.database.tables import Evaluation
from app.errors import NotReady
from app.operations.pass_runner import Runner
from app.passes import queue
from tests.support.batches import begun
from tests.support.client import until_ended
from tests.support.flips import damage_row
from tests.support.held_passes import HeldPasses
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


def damaged(service: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    """Queue an evaluation that nobody claims, and damage its row; return its id."""
    with monkeypatch.context() as patch:
        patch.setattr(Runner, "claim", lambda _: None)
        body = {"dataset_id": service.dataset({"cat": 1}, start=70)}
        id_ = service.client.post("/v1/evaluations", json=body).json()["id"]
        time.sleep(0.1)  # whoever looks sees it as it is from here on
        bind = service.state.sessions.kw["bind"]
        damage_row(bind, "evaluation", f"id = '{id_}'", "total", 5)
    return str(id_)


def test_a_damaged_one_is_not_tried_and_takes_no_room(
    either: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.component({"cat": 3, "dog": 3})
    id_ = damaged(either, monkeypatch)
    with transaction(either.state.reading) as session:
        assert queue.waiting(session) == []
        queue.check_room(session, 1)
    other = begun(either, dataset_id=either.dataset({"cat": 2}, start=20))
    assert until_ended(either, other)["status"] == "ready"
    problem(either.client.post(f"/v1/evaluations/{id_}/cancel"), 503, "row_damaged")


def test_a_row_that_is_damaged_after_it_was_read_is_not_called_finished(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 3, "dog": 3})
    held = HeldPasses(monkeypatch)
    body = {"dataset_id": service.dataset({"cat": 1}, start=70)}
    id_ = service.client.post("/v1/evaluations", json=body).json()["id"]
    held.wait_for_one()
    with transaction(service.state.reading) as session:
        row = session.get_one(Evaluation, id_)
    damage_row(service.state.sessions.kw["bind"], "evaluation", f"id = '{id_}'", "total", 5)
    with pytest.raises(NotReady, match="damaged"), transaction(service.state.sessions) as session:
        session.add(row)
        queue.cancel(session, row)
    held.go.set()
