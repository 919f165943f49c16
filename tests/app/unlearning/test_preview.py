"""A preview of a deletion predicts its effects and changes nothing."""

import time
from threading import Event
from typing import Any

import httpx
import pytest

from app.images import chunks
from app.parts import MAX_PREVIEWS
from app.unlearning import preview as previews
from tests.support.client import WAIT, compose
from tests.support.connections import connected, get
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

COUNTS = {"cat": 4, "dog": 3, "owl": 3, "yak": 2}


def preview(service: Service, component_id: str, **query: str) -> dict[str, Any]:
    answer = service.client.get(f"/v1/components/{component_id}/deletion-preview", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def request(service: Service, path: str, **query: str) -> httpx.Response:
    return service.client.get(f"/v1/components/{path}/deletion-preview", params=query)


def best(service: Service, start: int) -> list[tuple[str, str]]:
    """Return (true label, first label) of every image of the dataset, from predictions."""
    pairs = [(label, n) for label, count in COUNTS.items() for n in range(start, start + count)]
    files = [("images", (f"{label}{n}", image(label, n))) for label, n in pairs]
    results = service.client.post("/v1/predictions", files=files).json()["results"]
    found = [result["predictions"][0]["label"] for result in results]
    return [(label, first) for (label, _), first in zip(pairs, found, strict=True)]


def state(service: Service) -> list[Any]:
    """Return all that a deletion could change."""
    paths = ("components", "compositions", "evaluations", "receipts", "spaces", "datasets")
    return [service.client.get(f"/v1/{path}").json() for path in paths]


def test_the_deletion_does_what_its_preview_predicted(either, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 5)  # several chunks, the last one not full
    service = either
    gone = service.component({"dog": 3, "owl": 3, "yak": 3})
    rest = [service.component({"cat": 3, "dog": 2}), service.component({"cow": 3, "owl": 1})]
    dataset_id = service.dataset(COUNTS, start=70)
    compose(service, "all", "all", status=201)
    compose(service, "fitted", [{"id": gone}, {"id": rest[0]}], status=201)
    compose(service, "other", [{"id": each} for each in rest], status=201)
    compose(service, "own", [{"id": gone}], status=201)
    labelled = service.dataset({"cat": 10, "dog": 10}, start=90)
    solved = service.client.post("/v1/compositions/fitted/solve", json={"dataset_id": labelled})
    assert solved.status_code == 200, solved.text
    for body in ({}, {"components": [{"id": rest[0]}]}):
        made = service.client.post(
            "/v1/evaluations", json={"dataset_id": dataset_id} | body, headers=WAIT
        )
        assert made.status_code == 201
    held, before = state(service), best(service, 70)

    predicted = preview(service, gone, dataset_id=dataset_id)

    assert state(service) == held and best(service, 70) == before
    receipt = service.client.delete(f"/v1/components/{gone}").json()["body"]
    after = best(service, 70)
    assert predicted["labels_gone"] == ["yak"] and receipt["labels"][0]["count"] == 1
    assert predicted["evaluations"] == len(receipt["invalidated"]["evaluations"]) == 1
    named = [each["name"] for each in predicted["compositions"] if each["named"]]
    assert named == [each["name"] for each in receipt["invalidated"]["compositions"]]
    lost = [each["name"] for each in predicted["compositions"] if each["solved_weights_lost"]]
    assert lost == receipt["invalidated"]["solved_weights"] == ["fitted"]
    left = {each["name"]: each["components_left"] for each in predicted["compositions"]}
    assert left == {"all": 2, "fitted": 1, "own": 0}
    answers = predicted["answers"]
    assert (answers["dataset_id"], answers["rule"]) == (dataset_id, "joint")
    assert answers["labels"] == {label: change(label, before, after) for label in COUNTS}
    whole = change(None, before, after)
    assert {key: answers[key] for key in whole} == whole
    assert answers["labels"]["yak"]["accuracy_after"] == 0 < answers["flipped"]


def change(label: str | None, before: list[Any], after: list[Any]) -> dict[str, Any]:
    """Return the counts of one true label, or of all, from the pairs."""
    pairs = [
        (true, old, new)
        for (true, old), (_, new) in zip(before, after, strict=True)
        if label in (None, true)
    ]
    return {
        "num_images": len(pairs),
        "flipped": sum(old != new for _, old, new in pairs),
        "accuracy_before": pytest.approx(sum(t == old for t, old, _ in pairs) / len(pairs)),
        "accuracy_after": pytest.approx(sum(t == new for t, _, new in pairs) / len(pairs)),
    }


def test_without_a_dataset_there_are_no_answers(service: Service) -> None:
    part = service.component({"cat": 3})
    found = preview(service, part)
    assert (found["answers"], found["labels_gone"]) == (None, ["cat"])


def test_the_last_component_leaves_no_answer(service: Service) -> None:
    part = service.component({"cat": 3})
    answers = preview(service, part, dataset_id=service.dataset({"cat": 3}, start=40))["answers"]
    assert (answers["accuracy_before"], answers["accuracy_after"]) == (1, None)
    assert answers["flipped"] == 3


def test_a_component_that_is_not_ready_changes_no_answer(service: Service) -> None:
    dataset_id = service.dataset({"cat": 3})
    waiting = service.queued(dataset_id)
    compose(service, "all", "all", status=201)
    found = preview(service, waiting)
    assert (found["labels_gone"], found["compositions"]) == ([], [])
    problem(request(service, waiting, dataset_id=dataset_id), 409, "component_not_ready")


def test_a_missing_component_or_dataset_has_no_preview(service: Service) -> None:
    part = service.component({"cat": 3})
    problem(request(service, "cmp_none"), 404, "component_not_found")
    problem(request(service, part, dataset_id="ds_none"), 404, "dataset_not_found")
    receipt = service.client.delete(f"/v1/components/{part}").json()["id"]
    assert problem(request(service, part), 410, "component_deleted")["receipt_id"] == receipt


def test_a_few_previews_with_a_dataset_are_made_at_a_time(service: Service) -> None:
    part, dataset_id = service.component({"cat": 3}), service.dataset({"cat": 3}, start=40)
    turns = service.state.previewing
    assert all(turns.acquire(blocking=False) for _ in range(MAX_PREVIEWS))

    refused = request(service, part, dataset_id=dataset_id)

    problem(refused, 503, "previews_busy")
    assert refused.headers["Retry-After"] == "5"
    assert preview(service, part)["answers"] is None  # takes no pass
    turns.release(MAX_PREVIEWS)
    assert preview(service, part, dataset_id=dataset_id)["answers"]["num_images"] == 3


def test_a_preview_that_fails_gives_its_turn_back(service: Service) -> None:
    dataset_id = service.dataset({"cat": 3})
    waiting = service.queued(dataset_id)
    for _ in range(MAX_PREVIEWS + 1):
        problem(request(service, waiting, dataset_id=dataset_id), 409, "component_not_ready")


def test_a_preview_of_too_many_images_is_told_to_take_a_split_or_evaluations(serve) -> None:
    service = serve(max_report_images=4)
    part = service.component({"cat": 3})
    dataset_id = service.dataset({"cat": 5}, start=40)
    refused = problem(request(service, part, dataset_id=dataset_id), 422, "preview_too_large")
    assert refused["detail"].startswith("5 images are more than the 4 ")
    assert "?split=" in refused["detail"] and "/v1/evaluations" in refused["detail"]
    fitting = service.dataset({"cat": 4}, start=60)
    assert preview(service, part, dataset_id=fitting)["answers"]["num_images"] == 4


def test_a_preview_ends_once_its_client_has_left(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 1)
    part, dataset_id = service.component({"cat": 3}), service.dataset({"cat": 60}, start=40)
    has_begun, passes, first_labels = Event(), [], previews._first_labels

    def slow(*given: Any) -> Any:
        has_begun.set()
        passes.append(given)
        time.sleep(0.1)
        return first_labels(*given)

    monkeypatch.setattr(previews, "_first_labels", slow)
    path = f"/v1/components/{part}/deletion-preview?dataset_id={dataset_id}"
    with connected(service, get(path)):
        assert has_begun.wait(30)

    turns = service.state.previewing
    assert all(turns.acquire(timeout=30) for _ in range(MAX_PREVIEWS))
    assert len(passes) < 2 * 60
    turns.release(MAX_PREVIEWS)
