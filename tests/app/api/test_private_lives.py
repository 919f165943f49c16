"""The lives of private components: made once, never again, and what asks their images no more."""

import pytest

from app.database.sessions import transaction
from app.datasets import privacy_accounting, privacy_ledger
from app.store import components
from tangent.components.gaussian_mechanism import mu_of
from tangent.training.privacy import public_images
from tests.support.archives import archive
from tests.support.client import WAIT
from tests.support.images import image
from tests.support.merging import by_name, derived, imported
from tests.support.privacy import budget, files_of, ledger, train
from tests.support.problems import problem
from tests.support.splits import uploaded

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


def test_one_that_is_tried_again_counts_for_the_groups_that_there_are_then(either):
    files = files_of({"a": 2, "b": 2})
    dataset_id = uploaded(either, files)["id"]
    budget(either, dataset_id, unit="group", epsilon=90.0)
    component_id = train(either, dataset_id, unit="image", epsilon=0.3)
    fail(either, component_id)
    more = files_of({"a": 4}, start=40)
    sent = {"file": ("more.zip", archive(more))}
    added = either.client.post(f"/v1/datasets/{dataset_id}/images", files=sent)
    assert added.status_code == 200, added.text
    shown = either.client.get(f"/v1/components/{component_id}").json()
    assert (shown["status"], shown["images"]) == ("failed", {"cat": 0, "dog": 0})
    again = either.client.post(f"/v1/components/{component_id}/retrain")
    assert again.status_code == 202, again.text
    six = privacy_accounting.total([1 / mu_of(0.3, 1e-5) / 6], 1e-5).epsilon
    assert ledger(either, dataset_id)["spent"]["epsilon"] == pytest.approx(six, rel=1e-4)


def spoil(service, component_id: str, detail: str) -> None:
    """Note that the component's file is damaged."""
    error = {"code": "component_damaged", "detail": detail}
    with transaction(service.state.sessions) as session:
        assert components.move(session, component_id, "spoil", error=error)


def test_a_damaged_one_says_no_count_and_no_remedy_after_its_dataset_has_changed(service):
    dataset_id = service.dataset(COUNTS)
    component_id = service.train(queued(service, dataset_id))
    spoil(service, component_id, "restore it, or POST … /retrain")
    image_id = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"][0]["id"]
    gone = service.client.delete(f"/v1/datasets/{dataset_id}/images/{image_id}")
    assert gone.status_code == 200, gone.text
    shown = service.client.get(f"/v1/components/{component_id}").json()
    assert shown["images"] == {"cat": 0, "dog": 0}
    assert shown["error"]["detail"].endswith("its dataset was changed: delete the component")


def test_one_that_was_ready_is_never_made_again(either):
    dataset_id = either.dataset(COUNTS)
    component_id = either.train(queued(either, dataset_id))
    spoil(either, component_id, "its file is damaged")
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
    sent = {"dataset_id": dataset_id, "components": [{"id": shown["id"]}]}
    evaluated = service.client.post("/v1/evaluations", json=sent, headers=WAIT).json()
    assert (evaluated["num_images"], evaluated["trained_on"]) == (15, 6)  # the cats
    plain = service.train(service.queued(dataset_id))
    sent["components"].append({"id": plain})
    evaluated = service.client.post("/v1/evaluations", json=sent, headers=WAIT).json()
    assert evaluated["trained_on"] == 15


def test_no_total_needs_images_of_datasets_that_are_gone(service):
    dataset_id = service.dataset(COUNTS)
    service.train(queued(service, dataset_id))
    gone = service.client.delete(f"/v1/datasets/{dataset_id}?cascade=true")
    assert gone.status_code == 200, gone.text
    problem(service.client.get(f"/v1/datasets/{dataset_id}/privacy"), 410, "dataset_deleted")
    with transaction(service.state.reading) as session:
        assert privacy_ledger.total_of(session, []) is None


def test_a_total_has_the_private_components_that_others_were_derived_from(service):
    dataset_id = service.dataset(COUNTS)
    private = sorted(service.train(queued(service, dataset_id)) for _ in range(2))
    merged = derived(service, "task_arithmetic", *private)
    file = service.client.get(f"/v1/components/{merged}/delta").content
    again = imported(service, file).json()["id"]
    plain = service.component(COUNTS, start=40)

    def total(*ids: str) -> dict:
        body = {"rule": "average", "components": [{"id": each} for each in ids]}
        assert service.client.put("/v1/compositions/some", json=body).status_code in (200, 201)
        found = service.client.get("/v1/compositions/some/privacy").json()
        return found | {"private": sorted(found["private"])}

    both = total(*private)
    assert (both["private"], both["not_private"]) == (private, 0) and both["epsilon"] > 1
    assert total(merged) == both
    assert total(again) == total(merged, again) == both | {"not_private": 1}
    mixed = derived(service, "task_arithmetic", merged, plain)
    assert total(mixed) == total(mixed, plain) == both | {"not_private": 1}
    answered = by_name(service, again).json()
    assert answered["privacy"]["epsilon"] == both["epsilon"]
