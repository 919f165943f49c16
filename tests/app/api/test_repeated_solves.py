"""Idempotency-Key of a solve: the same request twice is solved and stored once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from app.inference.engine.engine import Engine
from tests.support.client import compose
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


def keyed(service: Service, key: str, dataset_id: str, **body: Any) -> httpx.Response:
    return service.client.post(
        "/v1/compositions/fitted/solve",
        json={"dataset_id": dataset_id} | body,
        headers={"Idempotency-Key": key},
    )


def test_a_solve_sent_twice_with_a_key_is_solved_once(either, monkeypatch):
    parts = [either.component({label: 3, "dog": 2}) for label in ("cat", "cow")]
    dataset_id = either.dataset({"cat": 12, "cow": 12}, start=60)
    compose(either, "fitted", parts)
    first = keyed(either, "k1", dataset_id)
    assert first.status_code == 200, first.text
    assert "idempotent-replayed" not in first.headers

    def again(*_: Any) -> Any:
        raise AssertionError("solved again")

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "effects", again)
        second = keyed(either, "k1", dataset_id)
        assert (second.json(), second.headers["etag"]) == (first.json(), first.headers["etag"])
        assert second.headers["idempotent-replayed"] == "true"
        problem(keyed(either, "k1", dataset_id, l2=1.0), 422, "idempotency_key_reused")
    other = keyed(either, "k2", dataset_id, l2=1.0)
    assert other.json()["solved"]["l2"] == 1.0
    late = keyed(either, "k1", dataset_id)  # the composition as it is now
    assert late.json() == other.json()
    either.client.delete(f"/v1/components/{parts[0]}")
    late = keyed(either, "k2", dataset_id, l2=1.0)
    assert late.json()["solved"]["status"] == "invalidated"


def test_of_many_solves_at_once_with_a_key_one_is_stored(service):
    parts = [service.component({label: 3, "dog": 2}) for label in ("cat", "cow")]
    dataset_id = service.dataset({"cat": 12, "cow": 12}, start=60)
    compose(service, "fitted", parts)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: keyed(service, "k1", dataset_id), range(4)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


def test_a_solve_that_was_refused_does_not_use_its_key_up(service):
    part = service.component({"cat": 3, "dog": 2})
    compose(service, "fitted", [part])
    few = service.dataset({"cat": 2}, start=40)
    problem(keyed(service, "k1", few), 422, "too_few_images")
    assert keyed(service, "k1", service.dataset({"cat": 12}, start=60)).status_code == 200


def test_a_key_is_free_again_once_its_composition_is_deleted(either):
    part, dataset_id = either.component({"cat": 3, "dog": 2}), either.dataset({"cat": 12}, start=60)
    compose(either, "fitted", [part])
    assert keyed(either, "k1", dataset_id).status_code == 200
    assert either.client.delete("/v1/compositions/fitted").status_code == 204
    problem(keyed(either, "k1", dataset_id), 404, "composition_not_found")
    compose(either, "fitted", [part])
    late = keyed(either, "k1", dataset_id)
    assert late.json()["solved"]["status"] == "ready" and "idempotent-replayed" not in late.headers
