"""The lives of private components: made once, never again, and what asks their images no more."""

import pytest

from app.database.sessions import transaction
from app.datasets import privacy_ledger
from app.store import components
from tangent.training.privacy import public_images
from tests.support.images import image
from tests.support.problems import problem

TERMS = {"epsilon": 1.0, "delta": 1e-5}
COUNTS = {"cat": 6, "dog": 6}


@pytest.fixture(autouse=True)
def few_public_images(monkeypatch):
    monkeypatch.setattr(public_images, "COUNT", 64)


def queued(service, dataset_id: str, **body) -> str:
    return service.queued(dataset_id, privacy=TERMS, **body)


def states(service, dataset_id: str) -> list[str]:
    ledger = service.client.get(f"/v1/datasets/{dataset_id}/privacy").json()
    return [spend["state"] for spend in ledger["spends"]]


def fail(service, component_id: str, code: str = "training_died") -> None:
    with transaction(service.state.sessions) as session:
        components.fail(session, component_id, code=code, detail="it ended")


def test_an_attempt_that_died_with_its_noise_has_spent_nothing_more(either):
    dataset_id = either.dataset(COUNTS)
    component_id = queued(either, dataset_id)
    with transaction(either.state.sessions) as session:  # an attempt whose file nobody has seen
        components.start(session, component_id, executor_id="died")
    assert states(either, dataset_id) == ["reserved"]
    either.train(component_id)
    assert states(either, dataset_id) == ["spent"]


def test_a_training_that_failed_spends_again_if_it_is_tried_again(either):
    dataset_id = either.dataset(COUNTS)
    budget = f"/v1/datasets/{dataset_id}/privacy"
    assert either.client.put(budget, json=TERMS).status_code == 200
    component_id = queued(either, dataset_id)
    fail(either, component_id)
    assert states(either, dataset_id) == ["returned"]
    other = queued(either, dataset_id)
    again = either.client.post(f"/v1/components/{component_id}/retrain")
    problem(again, 409, "budget_spent")
    assert either.client.delete(f"/v1/components/{other}").status_code == 200
    again = either.client.post(f"/v1/components/{component_id}/retrain")
    assert again.status_code == 202, again.text
    assert states(either, dataset_id) == ["reserved", "returned"]


def test_one_that_was_ready_is_never_made_again(either):
    dataset_id = either.dataset(COUNTS)
    component_id = either.train(queued(either, dataset_id))
    with transaction(either.state.sessions) as session:
        error = {"code": "component_damaged", "detail": "its file is damaged"}
        assert components.move(session, component_id, "spoil", error=error)
    again = either.client.post(f"/v1/components/{component_id}/retrain")
    problem(again, 409, "private_component")
    assert states(either, dataset_id) == ["spent"]


def test_calibration_looks_at_no_image_of_a_private_component(service):
    private = service.train(queued(service, service.dataset(COUNTS)))
    plain = service.component({"cat": 8, "dog": 8}, start=30)
    sent = {"content": image("cat", 3), "headers": {"Content-Type": "image/png"}}

    def used(*ids: str) -> int | None:
        query = {"components": ",".join(ids), "return": "novelty"}
        answer = service.client.post("/v1/predictions", params=query, **sent)
        assert answer.status_code == 200, answer.text
        return answer.json()["calibration"]["images"]

    assert used(plain) == 16
    assert used(plain, private) == 16
    assert used(private) == 0


def test_labels_can_be_declared_and_other_images_are_not_used(service):
    dataset_id = service.dataset(COUNTS | {"eel": 3})
    body = {"dataset_id": dataset_id, "privacy": TERMS | {"labels": ["cat", "owl"]}}
    answer = service.client.post("/v1/components", json=body)
    assert answer.status_code == 202, answer.text
    shown = service.client.get(f"/v1/components/{service.train(answer.json()['id'])}").json()
    assert shown["labels"] == ["cat", "owl"]
    assert min(shown["images"].values()) >= 1


def test_no_total_needs_images_of_datasets_that_are_gone(service):
    dataset_id = service.dataset(COUNTS)
    service.train(queued(service, dataset_id))
    gone = service.client.delete(f"/v1/datasets/{dataset_id}?cascade=true")
    assert gone.status_code == 200, gone.text
    problem(service.client.get(f"/v1/datasets/{dataset_id}/privacy"), 410, "dataset_deleted")
    with transaction(service.state.reading) as session:
        assert privacy_ledger.total_of(session, []) is None
