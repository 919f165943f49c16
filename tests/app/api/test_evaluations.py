"""Evaluations: the counts equal the ones of predictions, and a deletion removes them."""

import time
from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import httpx
import pytest

from app.errors import Invalid
from app.images import chunks
from app.inference.engine.engine import Engine
from app.operations.pass_attempts import Attempt
from tests.support.client import DELETIONS, WAIT, delete, until_ended
from tests.support.held_passes import HeldPasses
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents


def evaluate(service: Service, dataset_id: str, **selection: Any) -> dict[str, Any]:
    answer = service.client.post(
        "/v1/evaluations", json={"dataset_id": dataset_id} | selection, headers=WAIT
    )
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/evaluations/{answer.json()['id']}"
    return answer.json()


def counted(
    two: TwoComponents, counts: dict[str, int], start: int, **fields: str
) -> dict[str, Any]:
    """Return the confusion counted from a prediction of every single image."""
    confusion = {}
    for label, number in counts.items():
        answers: Counter[str] = Counter()
        for position in range(start, start + number):
            result = two.post(image(label, position), top_k="1", **fields).json()["results"][0]
            answers[result["predictions"][0]["label"]] += 1
        confusion[label] = dict(answers)
    return confusion


def test_the_counts_are_those_of_predictions(
    two: TwoComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 4)  # several chunks, the last one not full
    counts = {"cat": 3, "cow": 5, "yak": 2}
    dataset_id = two.service.dataset(counts, start=500)
    found = evaluate(two.service, dataset_id, rule="average")
    expected = counted(two, counts, 500, rule="average")
    right = sum(answers.get(label, 0) for label, answers in expected.items())
    assert found["confusion"] == expected
    assert (found["num_images"], found["accuracy"]) == (10, right / 10)
    assert {label: each["images"] for label, each in found["labels"].items()} == counts
    for label, each in found["labels"].items():
        assert each["correct"] == expected[label].get(label, 0)
        assert each["accuracy"] == each["correct"] / each["images"]
    assert found["labels"]["yak"]["correct"] == 0  # no selected component knows it


def test_an_evaluation_keeps_its_selection_and_is_listed(two: TwoComponents) -> None:
    dataset_id = two.service.dataset({"cat": 2}, start=600)
    members = [{"id": two.pets, "weight": 2.0}]
    found = evaluate(two.service, dataset_id, components=members, rule="weighted")
    (part,) = found["components"]
    assert (part["id"], part["weight"]) == (two.pets, 2.0)
    assert (found["space"], found["rule"], found["status"]) == ("default", "weighted", "ready")
    client = two.service.client
    assert client.get(f"/v1/evaluations/{found['id']}").json() == found
    assert client.get(f"/v1/evaluations?dataset_id={dataset_id}").json()["data"] == [found]


def test_evaluations_come_in_pages(two: TwoComponents) -> None:
    dataset_id = two.service.dataset({"cat": 1}, start=700)
    made = [evaluate(two.service, dataset_id)["id"] for _ in range(3)]
    client, seen, after = two.service.client, [], ""
    while True:
        query = f"?dataset_id={dataset_id}&limit=2{after}"
        page = client.get(f"/v1/evaluations{query}").json()
        seen += [each["id"] for each in page["data"]]
        assert page["has_more"] == (len(seen) < 3)
        if not page["has_more"]:
            assert page["next"] is None
            break
        after = f"&after={page['next']}"
    assert seen == made


def test_what_cannot_be_evaluated_is_refused(two: TwoComponents) -> None:
    client = two.service.client

    def post(**body: Any) -> httpx.Response:
        return client.post("/v1/evaluations", json=body, headers=WAIT)

    dataset_id = two.service.dataset({"cat": 1}, start=800)
    problem(post(dataset_id="ds_none"), 404, "dataset_not_found")
    problem(post(), 422, "invalid_request")
    problem(post(dataset_id=dataset_id, composition="none"), 404, "composition_not_found")
    problem(client.get("/v1/evaluations/ev_none"), 404, "evaluation_not_found")
    gone = two.service.dataset({"cat": 1}, start=801)
    receipt = client.delete(f"/v1/datasets/{gone}").json()["id"]
    assert problem(post(dataset_id=gone), 410, "dataset_deleted")["receipt_id"] == receipt


def test_deleting_a_component_invalidates_what_it_took_part_in(service: Service) -> None:
    part, other = service.component({"cat": 3}), service.component({"dog": 3})
    dataset_id = service.dataset({"cat": 2, "dog": 2}, start=50)
    both = evaluate(service, dataset_id)["id"]
    alone = evaluate(service, dataset_id, components=[{"id": other}])
    receipt = service.client.delete(f"/v1/components/{part}").json()
    found = service.client.get(f"/v1/evaluations/{both}").json()
    assert (found["status"], found["invalidated_by"]) == ("invalidated", receipt["id"])
    assert found["accuracy"] is found["confusion"] is found["labels"] is None
    assert service.client.get(f"/v1/evaluations/{alone['id']}").json() == alone


def queue(service: Service, dataset_id: str, **selection: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/evaluations", json={"dataset_id": dataset_id} | selection)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/evaluations/{answer.json()['id']}"
    return answer.json()


def test_an_evaluation_is_queued_and_shows_how_far_it_is(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=50)
    held = HeldPasses(monkeypatch)
    queued = queue(service, dataset_id)
    assert (queued["status"], queued["progress"]) == ("queued", {"done": 0, "total": 3})
    assert queued["accuracy"] is queued["finished_at"] is queued["error"] is None
    held.wait_for_one()
    running = service.client.get(f"/v1/evaluations/{queued['id']}").json()
    assert (running["status"], running["accuracy"]) == ("running", None)
    held.go.set()
    found = until_ended(service, f"evaluations/{queued['id']}")
    assert (found["status"], found["progress"]) == ("ready", {"done": 3, "total": 3})
    assert found["num_images"] == 3
    assert found["created_at"] <= found["started_at"] <= found["finished_at"]


def test_a_client_says_how_long_it_waits(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=50)
    held = HeldPasses(monkeypatch)

    def post(prefer: str) -> httpx.Response:
        headers = {"Prefer": prefer}
        body = {"dataset_id": dataset_id}
        return service.client.post("/v1/evaluations", json=body, headers=headers)

    late = post("respond-async, wait=0")
    assert (late.status_code, late.headers["preference-applied"]) == (202, "wait")
    assert late.json()["status"] == "queued"
    other = post("respond-async")
    assert other.status_code == 202
    assert "preference-applied" not in other.headers
    held.go.set()
    answer = post("wait=30")
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait")
    assert (answer.json()["status"], answer.json()["num_images"]) == ("ready", 3)


def test_a_cancelled_evaluation_stops_and_has_no_numbers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=50)
    held = HeldPasses(monkeypatch)
    path = f"/v1/evaluations/{queue(service, dataset_id)['id']}"
    held.wait_for_one()
    cancelled = service.client.post(f"{path}/cancel").json()
    assert (cancelled["status"], cancelled["accuracy"]) == ("cancelled", None)
    held.go.set()
    evaluate(service, dataset_id)  # by the same thread, after it has left the other one
    assert service.client.get(path).json() == cancelled
    refused = problem(service.client.post(f"{path}/cancel"), 409, "evaluation_finished")
    assert "cancelled already" in refused["detail"]
    problem(service.client.post("/v1/evaluations/ev_none/cancel"), 404, "evaluation_not_found")


def test_an_evaluation_that_cannot_be_computed_says_why(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=50)

    def failing(*_: Any, **__: Any) -> Any:
        raise Invalid("weights_too_large", "the weights are too large")

    monkeypatch.setattr(Engine, "begin", failing)
    answer = service.client.post("/v1/evaluations", json={"dataset_id": dataset_id}, headers=WAIT)
    assert (answer.status_code, answer.json()["status"]) == (201, "failed")
    error = {"code": "weights_too_large", "detail": "the weights are too large"}
    assert (answer.json()["error"], answer.json()["accuracy"]) == (error, None)


def test_no_more_evaluations_wait_than_may(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(max_queued_jobs=2)
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=50)
    held = HeldPasses(monkeypatch)
    made = [queue(service, dataset_id)["id"] for _ in range(2)]
    answer = service.client.post("/v1/evaluations", json={"dataset_id": dataset_id})
    assert "the most are 2" in problem(answer, 429, "queue_full")["detail"]
    assert int(answer.headers["retry-after"]) >= 1
    service.client.post(f"/v1/evaluations/{made[1]}/cancel")
    queue(service, dataset_id)
    held.go.set()


@pytest.mark.parametrize("what", ["component", "dataset", "image", "labels"])
def test_a_deletion_in_the_middle_ends_the_evaluation(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    part = service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3, "dog": 1}, start=50)
    held = HeldPasses(monkeypatch)
    running, queued = (queue(service, dataset_id)["id"] for _ in range(2))
    held.wait_for_one()
    receipt = DELETIONS[what](service, part, dataset_id)  # it does not wait
    held.go.set()
    assert set(receipt["body"]["invalidated"]["evaluations"]) == {running, queued}
    for id_ in (running, queued):
        found = until_ended(service, f"evaluations/{id_}")
        assert (found["status"], found["invalidated_by"]) == ("invalidated", receipt["id"])
        assert found["accuracy"] is found["confusion"] is found["error"] is None
    verified = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert verified["ok"], verified


def test_nothing_is_published_by_an_attempt_that_a_deletion_has_ended(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=50)
    check, receipts = Attempt.check, SimpleQueue[dict[str, Any]]()
    deletions = iter([f"components/{part}"])

    def late(attempt: Attempt) -> None:
        check(attempt)
        if attempt.done == 3:  # all is counted, and nothing is stored yet
            for path in deletions:
                receipts.put(delete(service, path))

    monkeypatch.setattr(Attempt, "check", late)
    found = until_ended(service, f"evaluations/{queue(service, dataset_id)['id']}")
    receipt = receipts.get(timeout=30)
    assert (found["status"], found["invalidated_by"]) == ("invalidated", receipt["id"])
    time.sleep(0.5)  # for what must not come
    assert service.client.get(f"/v1/evaluations/{found['id']}").json() == found
    assert found["accuracy"] is found["confusion"] is None
