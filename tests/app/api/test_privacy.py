"""Private components over HTTP: their terms, the ledger of their dataset, and what is refused."""

import threading

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from app.datasets import privacy_accounting
from tangent.training.privacy import public_images
from tests.support.images import archive, image
from tests.support.problems import problem

TERMS = {"epsilon": 1.0, "delta": 1e-5}
COUNTS = {"cat": 3, "dog": 3}


@pytest.fixture
def service(either):
    return either


@pytest.fixture(autouse=True)
def few_public_images(monkeypatch):
    monkeypatch.setattr(public_images, "COUNT", 64)


def asked(service, dataset_id, **terms):
    body = {"dataset_id": dataset_id, "privacy": TERMS | terms}
    return service.client.post("/v1/components", json=body)


def private(service, dataset_id, **terms) -> str:
    """Train a private component; return its id."""
    answer = asked(service, dataset_id, **terms)
    assert answer.status_code == 202, answer.text
    return service.train(answer.json()["id"])


def shown(service, path: str) -> dict:
    answer = service.client.get(f"/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def budget(service, dataset_id: str, epsilon: float, delta: float = 1e-5) -> dict:
    body = {"epsilon": epsilon, "delta": delta}
    answer = service.client.put(f"/v1/datasets/{dataset_id}/privacy", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_private_component_shows_its_promise_and_no_number_of_its_images(service):
    dataset_id = service.dataset(COUNTS)
    queued = asked(service, dataset_id).json()
    assert queued["images"] == {"cat": 0, "dog": 0}
    component = shown(service, f"components/{service.train(queued['id'])}")
    assert component["privacy"] | TERMS == component["privacy"]
    assert component["privacy"]["labels"] == ["cat", "dog"]
    assert component["privacy"]["noise_multiplier"] == pytest.approx(3.7306, rel=1e-4)
    metrics = component["metrics"]
    assert metrics["train_accuracy"] is metrics["holdout_accuracy"] is None
    assert set(metrics) == {"train_accuracy", "holdout_accuracy", "l2", "environment"}
    assert component["hyperparameters"]["choose_l2"] is False


def test_two_private_components_answer_together_under_every_rule(service):
    ids = [private(service, service.dataset(COUNTS, start=10 * i)) for i in range(2)]
    for rule in ("joint", "average"):
        query = {"components": ",".join(ids), "rule": rule}
        sent = {"content": image("cat", 0), "headers": {"Content-Type": "image/png"}}
        answer = service.client.post("/v1/predictions", params=query, **sent)
        assert answer.status_code == 200, answer.text
        assert answer.json()["results"][0]["predictions"]


def test_the_ledger_adds_releases_as_google_s_accounting_does(service):
    dataset_id = service.dataset(COUNTS)
    for epsilon in (1.0, 0.5):
        private(service, dataset_id, epsilon=epsilon)
    ledger = shown(service, f"datasets/{dataset_id}/privacy")
    accountant = PLDAccountant()
    for spend in ledger["spends"]:
        accountant.compose(dp_accounting.GaussianDpEvent(spend["noise_multiplier"]))
    assert ledger["spent"]["epsilon"] == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-2)
    assert 1.0 < ledger["spent"]["epsilon"] < 1.5
    assert [spend["state"] for spend in ledger["spends"]] == ["spent", "spent"]
    assert ledger["accountant"] == f"dp-accounting {dp_accounting_version()}"


def dp_accounting_version() -> str:
    return privacy_accounting.version("dp-accounting")


def test_a_budget_refuses_what_goes_beyond_it_and_says_what_is_left(service):
    dataset_id = service.dataset(COUNTS)
    assert budget(service, dataset_id, 1.2)["left"] == pytest.approx(1.2, rel=1e-4)
    private(service, dataset_id)
    refused = problem(asked(service, dataset_id), 409, "budget_spent")
    assert refused["spent"] == pytest.approx(1.0, rel=1e-4)
    left = shown(service, f"datasets/{dataset_id}/privacy")["left"]
    assert refused["left"] == left
    problem(asked(service, dataset_id, epsilon=left + 0.01), 409, "budget_spent")
    private(service, dataset_id, epsilon=left)
    assert shown(service, f"datasets/{dataset_id}/privacy")["left"] < 0.01


def test_a_deleted_component_s_release_stays_spent(service):
    dataset_id = service.dataset(COUNTS)
    component_id = private(service, dataset_id)
    assert service.client.delete(f"/v1/components/{component_id}").status_code == 200
    ledger = shown(service, f"datasets/{dataset_id}/privacy")
    assert [spend["state"] for spend in ledger["spends"]] == ["spent"]
    assert ledger["spent"]["epsilon"] == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_training_that_ends_before_its_release_gives_the_spend_back(service, end):
    dataset_id = service.dataset(COUNTS)
    budget(service, dataset_id, 1.0)
    component_id = asked(service, dataset_id).json()["id"]
    assert shown(service, f"datasets/{dataset_id}/privacy")["spends"][0]["state"] == "reserved"
    problem(asked(service, dataset_id), 409, "budget_spent")
    path = f"/v1/components/{component_id}"
    if end == "cancel":
        assert service.client.post(f"{path}/cancel").status_code == 200
    else:
        assert service.client.delete(path).status_code == 200
    ledger = shown(service, f"datasets/{dataset_id}/privacy")
    assert ledger["spends"][0]["state"] == "returned"
    assert ledger["spent"]["epsilon"] == 0
    private(service, dataset_id)


def test_requests_at_once_cannot_spend_the_same_rest(service):
    dataset_id = service.dataset(COUNTS)
    budget(service, dataset_id, 1.0)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(asked(service, dataset_id).status_code))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [202, 409, 409, 409, 409, 409]


def test_images_that_two_datasets_share_count_for_both(service):
    first, second = service.dataset(COUNTS), service.dataset(COUNTS | {"eel": 2})
    apart = service.dataset(COUNTS, start=50)
    budget(service, second, 1.0)
    private(service, first)
    assert shown(service, f"datasets/{second}/privacy")["elsewhere"] == 1
    problem(asked(service, second), 409, "budget_spent")
    problem(asked(service, first), 409, "budget_spent")  # the budget of the other one
    private(service, apart)
    assert shown(service, f"datasets/{apart}/privacy")["elsewhere"] == 0


def test_a_composition_adds_over_the_same_images_and_not_over_different_ones(service):
    first, apart = service.dataset(COUNTS), service.dataset(COUNTS, start=50)
    ids = [private(service, first), private(service, first), private(service, apart, epsilon=1.1)]
    ids.append(service.component(COUNTS, start=70))

    def total(members: list[str]) -> dict:
        body = {"rule": "joint", "components": [{"id": each} for each in members]}
        assert service.client.put("/v1/compositions/some", json=body).status_code in (200, 201)
        return shown(service, "compositions/some/privacy")

    alone = total(ids[:1])
    assert alone["epsilon"] == pytest.approx(1.0, rel=1e-4)
    assert (alone["private"], alone["not_private"]) == (ids[:1], 0)
    twice = total(ids[:2])["epsilon"]
    assert twice == pytest.approx(privacy_accounting.total([3.7306316] * 2, 1e-5).epsilon, rel=1e-4)
    assert total([ids[0], ids[2]])["epsilon"] == pytest.approx(1.1, rel=1e-4)
    assert total(ids) | {"epsilon": twice, "not_private": 1} == total(ids)
    assert total(ids[3:])["epsilon"] is None


def test_what_would_undo_it_is_refused(service):
    dataset_id = service.dataset(COUNTS)
    component_id = private(service, dataset_id)
    image = shown(service, f"datasets/{dataset_id}/images")["data"][0]["id"]
    client = service.client
    removed = client.delete(f"/v1/datasets/{dataset_id}/images/{image}")
    assert problem(removed, 409, "private_component")["components"] == [component_id]
    renamed = client.post(f"/v1/datasets/{dataset_id}/labels", json={"rename": {"cat": "lynx"}})
    problem(renamed, 409, "private_component")
    problem(client.post(f"/v1/components/{component_id}/verify"), 409, "private_component")
    report = client.get(f"/v1/datasets/{dataset_id}/label-report")
    problem(report, 409, "private_component")
    body = {"label": "dog"}
    relabelled = client.patch(f"/v1/datasets/{dataset_id}/images/{image}", json=body)
    problem(relabelled, 409, "private_component")
    assert client.delete(f"/v1/components/{component_id}").status_code == 200
    assert client.delete(f"/v1/datasets/{dataset_id}/images/{image}").status_code == 200


def test_a_dataset_with_a_budget_tells_nothing_without_noise(service):
    dataset_id, open_ = service.dataset(COUNTS), service.dataset(COUNTS, start=20)
    component_id = private(service, open_)
    budget(service, dataset_id, 8.0)
    client = service.client
    plain = client.post("/v1/components", json={"dataset_id": dataset_id})
    problem(plain, 409, "privacy_required")
    body = {"dataset_id": dataset_id, "components": [{"id": component_id}]}
    problem(client.post("/v1/evaluations", json=body), 409, "privacy_required")
    problem(client.post("/v1/batch-predictions", json=body), 409, "privacy_required")
    asked = {"calibration_dataset": dataset_id, "components": component_id}
    png = {"Content-Type": "image/png"}
    named = client.post("/v1/predictions", content=image("cat", 90), headers=png, params=asked)
    problem(named, 409, "privacy_required")
    preview = f"/v1/components/{component_id}/deletion-preview"
    problem(client.get(preview, params={"dataset_id": dataset_id}), 409, "privacy_required")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"privacy": {"epsilon": 0.001, "delta": 1e-5}}, 422, "invalid_request"),
        ({"privacy": {"epsilon": 1.0}}, 422, "invalid_request"),
        ({"privacy": TERMS | {"unit": "person"}}, 422, "invalid_request"),
        ({"privacy": TERMS | {"unit": "group"}}, 422, "bad_privacy"),
        ({"privacy": TERMS, "hyperparameters": {"l2": "auto"}}, 422, "bad_privacy"),
        ({"privacy": TERMS, "hyperparameters": {"views": 2}}, 422, "bad_privacy"),
        ({"privacy": TERMS | {"labels": []}}, 422, "bad_privacy"),
        *(
            ({"privacy": TERMS | {"labels": ["cat", label]}}, 422, "invalid_request")
            for label in ("", "  ", "\u200b", "a\nb", "\x1b[31mred", "2\u202e")
        ),
        (
            {"privacy": TERMS | {"labels": [f"l{number}" for number in range(1001)]}},
            422,
            "too_many_labels",
        ),
    ],
)
def test_terms_that_cannot_be_kept_are_refused(service, body, status, code):
    dataset_id = service.dataset(COUNTS)
    answer = service.client.post("/v1/components", json={"dataset_id": dataset_id} | body)
    problem(answer, status, code)
    assert shown(service, f"datasets/{dataset_id}/privacy")["spends"] == []


def test_an_imported_component_keeps_its_claim(service):
    component_id = private(service, service.dataset(COUNTS))
    claim = shown(service, f"components/{component_id}")["privacy"]
    file = service.client.get(f"/v1/components/{component_id}/delta").content
    assert service.client.delete(f"/v1/components/{component_id}").status_code == 200
    again = service.client.post("/v1/components/import", files={"file": ("a.safetensors", file)})
    assert again.status_code == 201, again.text
    assert again.json()["privacy"] == claim


def test_a_prediction_shows_what_its_private_components_have_spent_together(service):
    dataset_id = service.dataset(COUNTS)
    ids = [private(service, dataset_id), private(service, dataset_id)]
    ids.append(service.component(COUNTS, start=70))

    def spent(members: list[str]) -> dict | None:
        query = {"components": ",".join(members)}
        picture = {"content": image("cat", 200), "headers": {"Content-Type": "image/png"}}
        answer = service.client.post("/v1/predictions", params=query, **picture)
        assert answer.status_code == 200, answer.text
        return answer.json()["privacy"]

    assert spent(ids[2:]) is None
    once = {"epsilon": pytest.approx(1.0, rel=1e-4), "delta": 1e-5, "unit": "image"}
    assert spent(ids[:1]) == spent(ids[1:]) == once
    assert spent(ids)["epsilon"] == pytest.approx(
        privacy_accounting.total([3.7306316] * 2, 1e-5).epsilon, rel=1e-4
    )


def test_a_budget_that_comes_with_the_upload_holds_from_the_first_moment(service):
    files = {"file": ("a.zip", archive(COUNTS), "application/zip")}
    given = {"privacy_budget": '{"epsilon": 1.0, "delta": 1e-5}'}
    both = service.client.post("/v1/datasets", files=files, data=given | {"train": "true"})
    problem(both, 409, "privacy_required")
    assert shown(service, "datasets")["data"] == []
    dataset_id = service.client.post("/v1/datasets", files=files, data=given).json()["id"]
    ledger = shown(service, f"datasets/{dataset_id}/privacy")
    assert ledger["budget"] == {"epsilon": 1.0, "delta": 1e-5}
    assert ledger["unit"] == "image"
    private(service, dataset_id)
    problem(asked(service, dataset_id), 409, "budget_spent")
    for wrong in ('{"epsilon": 0, "delta": 1e-5}', '{"epsilon": 1}', '{"e": 1}', "[1]"):
        answer = service.client.post("/v1/datasets", files=files, data={"privacy_budget": wrong})
        problem(answer, 422, "invalid_request")
