"""A deletion waits for what reads files; no later answer contains what it deleted."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.errors import NotReady
from app.inference.deletion_gate import Gate, Ticket
from app.inference.engine.engine import Engine
from tests.support.held_passes import HeldPasses
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

PNG = {"Content-Type": "image/png"}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(80) as threads:
        yield threads


def settled(future: Future[Any], seconds: float = 0.2) -> bool:
    """Return whether the call has ended after this time."""
    time.sleep(seconds)
    return future.done()


def hold(gate: Gate, entered: threading.Event, leave: threading.Event) -> None:
    with gate.exclusive():
        entered.set()
        assert leave.wait(10)


def test_a_deletion_waits_for_answers_and_answers_wait_for_a_deletion(
    pool: ThreadPoolExecutor,
) -> None:
    gate, entered, leave = Gate(), threading.Event(), threading.Event()
    gate.enter()
    gate.enter()
    deletion = pool.submit(hold, gate, entered, leave)
    gate.leave()
    assert not entered.wait(0.2)
    late = pool.submit(gate.enter)
    assert not settled(late), "a waiting deletion must go before new answers"
    gate.leave()
    assert entered.wait(10)
    assert not settled(late)
    leave.set()
    deletion.result(10)
    late.result(10)
    gate.leave()


def test_deletions_are_one_at_a_time(pool: ThreadPoolExecutor) -> None:
    gate, inside, most = Gate(), 0, 0

    def delete() -> None:
        nonlocal inside, most
        with gate.exclusive():
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    for future in [pool.submit(delete) for _ in range(10)]:
        future.result(10)
    assert (inside, most) == (0, 1)


def test_a_deletion_that_waits_too_long_says_so_and_opens_the_gate_again() -> None:
    gate = Gate(patience=0.05)
    gate.enter()
    with pytest.raises(NotReady, match="nothing was deleted") as caught, gate.exclusive():
        pytest.fail("an answer is in flight")
    assert caught.value.code == "predictions_in_flight"
    gate.enter()
    gate.leave()
    gate.leave()
    with gate.exclusive():
        pass


def test_the_gate_opens_again_after_a_deletion_that_fails() -> None:
    gate = Gate()
    with pytest.raises(RuntimeError, match="no disk"), gate.exclusive():
        raise RuntimeError("no disk")
    gate.enter()
    gate.leave()


def test_a_ticket_leaves_once() -> None:
    gate = Gate(patience=0.05)
    ticket, other = Ticket(gate), Ticket(gate)
    ticket.leave()
    ticket.enter()
    other.enter()
    ticket.leave()
    ticket.leave()
    with pytest.raises(NotReady), gate.exclusive():
        pytest.fail("the other one is still inside")
    other.leave()
    with gate.exclusive():
        pass


def ask(service: Service, components: str = "", composition: str = "") -> httpx.Response:
    query = {"components": components, "composition": composition}
    return service.client.post(
        "/v1/predictions", content=image("cat", 77), headers=PNG, params=query
    )


def used(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {part["id"] for part in answer.json()["components"]}


def test_a_deletion_waits_for_no_prediction_and_none_contains_what_it_deleted(
    service: Service, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = service.component({"cat": 2}), service.component({"dog": 2})
    held = HeldPasses(monkeypatch)
    asked = [pool.submit(ask, service) for _ in range(60)]  # more than are made at a time
    held.wait_for_one()
    assert service.client.delete(f"/v1/components/{one}").status_code == 200
    assert not any(each.done() for each in asked)
    held.go.set()
    assert [used(each.result(60)) for each in asked] == [{two}] * 60


def test_a_prediction_without_what_is_deleted_is_not_computed_again(
    service: Service, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = service.component({"cat": 2}), service.component({"dog": 2})
    held = HeldPasses(monkeypatch)
    asked = pool.submit(ask, service, kept)
    held.wait_for_one()
    assert service.client.delete(f"/v1/components/{gone}").status_code == 200
    held.go.set()
    assert used(asked.result(60)) == {kept}
    assert len(held.begun) == 1


def test_a_refusal_that_a_deletion_overtakes_names_nothing_of_what_it_deleted(
    service: Service, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, _ = service.component({"secret": 2}), service.component({"dog": 2})
    compose, begun, go = Engine.compose, threading.Event(), threading.Event()

    def held(engine: Engine, *given: Any) -> Any:
        found = compose(engine, *given)
        begun.set()
        assert go.wait(60)
        return found

    monkeypatch.setattr(Engine, "compose", held)
    query = {"labels": "unknown"}
    asked = pool.submit(
        service.client.post, "/v1/predictions", content=image("cat", 7), headers=PNG, params=query
    )
    assert begun.wait(60)
    assert service.client.delete(f"/v1/components/{gone}").status_code == 200
    go.set()
    refused = problem(asked.result(60), 422, "unknown_label")
    assert "dog" in refused["detail"] and "secret" not in refused["detail"]


def test_a_prediction_that_waits_learns_what_became_of_its_composition(
    service: Service, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = service.component({"cat": 2}), service.component({"dog": 2})
    for name in ("gone", "other", "kept"):
        body = {"rule": "average", "components": [{"id": one}]}
        service.client.put(f"/v1/compositions/{name}", json=body)
    held = HeldPasses(monkeypatch)
    asked = {name: pool.submit(ask, service, composition=name) for name in ("gone", "other")}
    while len(held.begun) < 2:
        time.sleep(0.01)
    service.client.delete("/v1/compositions/gone")
    body = {"rule": "average", "components": [{"id": two}]}
    service.client.put("/v1/compositions/other", json=body)
    held.go.set()
    problem(asked["gone"].result(60), 404, "composition_not_found")
    assert used(asked["other"].result(60)) == {two}
    assert used(ask(service, composition="kept")) == {one}


def test_under_load_no_answer_asked_for_after_a_deletion_contains_it(
    service: Service, pool: ThreadPoolExecutor
) -> None:
    parts = [service.component({label: 2}) for label in ("cat", "dog", "cow", "hen")]
    gone: list[str] = []
    done = threading.Event()

    def keep_asking() -> int:
        asked = 0
        while not done.is_set():
            before = set(gone)
            found = used(ask(service))
            assert not found & before, "an answer contains what was deleted before it"
            asked += 1
        return asked

    askers = [pool.submit(keep_asking) for _ in range(4)]
    for part in parts[:3]:
        time.sleep(0.2)
        assert service.client.delete(f"/v1/components/{part}").status_code == 200
        gone.append(part)
    time.sleep(0.2)
    done.set()
    assert all(asker.result(60) > 0 for asker in askers)
