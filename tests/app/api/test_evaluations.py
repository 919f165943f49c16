"""Evaluations: the counts equal the ones of predictions, and a deletion removes them."""

import threading
from collections import Counter
from typing import Any

import httpx
import pytest

from app.inference.engine.engine import Engine
from app.operations import evaluation
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents


def evaluate(service: Service, dataset_id: str, **selection: Any) -> dict[str, Any]:
    answer = service.client.post("/v1/evaluations", json={"dataset_id": dataset_id} | selection)
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
    monkeypatch.setattr(evaluation, "CHUNK", 4)  # several chunks, the last one not full
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
        return client.post("/v1/evaluations", json=body)

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


def test_a_deletion_in_the_middle_ends_the_evaluation(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 1)
    part = service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=50)
    reached, deleted = threading.Event(), threading.Event()
    forward = Engine.run

    def waiting(self: Engine, *given: Any, **more: Any) -> Any:
        reached.set()
        assert deleted.wait(30)
        return forward(self, *given, **more)

    monkeypatch.setattr(Engine, "run", waiting)
    answers: list[httpx.Response] = []

    def run() -> None:
        answers.append(service.client.post("/v1/evaluations", json={"dataset_id": dataset_id}))

    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(30)
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        assert client.delete(f"/v1/components/{part}").status_code == 200  # it does not wait
    deleted.set()
    thread.join(30)
    problem(answers[0], 410, "component_deleted")
    assert service.client.get("/v1/evaluations").json()["data"] == []
