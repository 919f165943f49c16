"""Solved weights: equal to an independent fit, and kept until a deletion removes them."""

import json
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from app.images import chunks
from app.inference.engine.engine import Engine
from tests.support.client import compose
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service

COUNTS = {"cat": 12, "cow": 9, "dog": 7}
BETA = 15.0  # the default target of a component's training


@pytest.fixture(scope="module")
def a(shared: Service) -> str:
    return shared.component({"cat": 4, "dog": 4})


@pytest.fixture(scope="module")
def b(shared: Service) -> str:
    return shared.component({"cow": 4, "dog": 2})


@pytest.fixture(scope="module")
def labelled(shared: Service, a: str, b: str) -> str:
    return shared.dataset(COUNTS | {"yak": 2}, start=300)


def solve(service: Service, name: str, dataset_id: str, **body: Any) -> httpx.Response:
    return service.client.post(
        f"/v1/compositions/{name}/solve", json={"dataset_id": dataset_id} | body
    )


def solved(service: Service, name: str, dataset_id: str, **body: Any) -> dict[str, Any]:
    answer = solve(service, name, dataset_id, **body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == f'"{answer.json()["etag"]}"'
    return answer.json()


def seen(service: Service, dataset_id: str, *ids: str) -> tuple[list[Any], list[Any]]:
    """Return (base (K,), changes (K, T), column) of the images to fit and of the images held out.

    All numbers come from the contributions that a client reads.
    """
    page = service.client.get(f"/v1/datasets/{dataset_id}/images?limit=100").json()
    fit: list[Any] = []
    held: list[Any] = []
    for row in page["data"]:
        picture = service.client.get(f"/v1/datasets/{dataset_id}/images/{row['id']}").content
        answer = service.client.post(
            "/v1/predictions",
            files=[("images", ("a", picture))],
            data={
                "components": json.dumps([{"id": each, "weight": 1.0} for each in ids]),
                "rule": "weighted",
                "return": "contributions",
            },
        )
        found = answer.json()["results"][0]["contributions"]
        labels = sorted(found["base"])
        if row["label"] not in labels:
            continue
        base = np.array([found["base"][label] for label in labels])
        parts = [[each["logits"][label] for label in labels] for each in found["components"]]
        example = base, np.array(parts).T, labels.index(row["label"])
        (held if int(row["sha256"], 16) % 5 == 0 else fit).append(example)
    return fit, held


def test_the_weights_are_those_of_an_independent_fit(shared, a, b, labelled, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 7)  # several chunks, the last one not full
    compose(shared, "s1", [a, b])
    found = solved(shared, "s1", labelled, objective="squared", l2=0.5)
    fit, held = seen(shared, labelled, a, b)
    about = found["solved"]
    assert (about["num_images"], about["num_holdout"]) == (len(fit), len(held))
    assert about["num_left_out"] == 2 and len(fit) + len(held) == sum(COUNTS.values())

    hessian, right = 0.5 * np.eye(2), 0.5 * np.full(2, 0.5)
    for base, parts, column in fit:
        scale = 1 / (len(fit) * len(base))
        hessian += scale * parts.T @ parts
        right += scale * parts.T @ (BETA * (np.arange(len(base)) == column) - base)
    expected = np.linalg.solve(hessian, right)
    weights = [each["weight"] for each in found["components"]]
    assert weights == pytest.approx(expected, rel=1e-6)
    for key, lambdas in (("", expected), ("uniform_", np.full(2, 0.5))):
        right = [int((f + z @ lambdas).argmax() == y) for f, z, y in held]
        assert about[f"{key}holdout_accuracy"] == pytest.approx(np.mean(right))
    assert about["training_objective"] < about["uniform_training_objective"]


@pytest.mark.parametrize("objective", ["squared", "cross_entropy"])
@pytest.mark.parametrize("constraint", ["none", "non_negative", "simplex"])
def test_the_composition_has_the_weights_and_a_new_version(
    shared, a, b, labelled, objective, constraint
):
    before = compose(shared, "s2", [a, b])
    asked = {"objective": objective, "l2": 0.01, "constraint": constraint}
    found = solved(shared, "s2", labelled, **asked)
    assert shared.client.get("/v1/compositions/s2").json() == found
    assert (found["rule"], before["solved"]) == ("weighted", None)
    assert found["etag"] != before["etag"]
    assert [each["id"] for each in found["components"]] == [a, b]
    weights = [each["weight"] for each in found["components"]]
    if constraint != "none":
        assert min(weights) >= 0
    if constraint == "simplex":
        assert sum(weights) == pytest.approx(1)
    about = found["solved"]
    assert {key: about[key] for key in asked} == asked
    assert (about["status"], about["dataset_id"]) == ("ready", labelled)
    assert about["members_trained_on_dataset"] == []
    again = solved(shared, "s2", labelled, **asked)
    assert [each["weight"] for each in again["components"]] == weights
    answer = shared.client.post(
        "/v1/predictions",
        files=[("images", ("a", image("cat", 9)))],
        data={"composition": "s2"},
    ).json()
    assert [each["weight"] for each in answer["components"]] == weights


def test_given_weights_are_not_solved_ones(shared, a, b, labelled):
    compose(shared, "s3", [a, b])
    solved(shared, "s3", labelled)
    assert compose(shared, "s3", [a, b], status=200)["solved"] is None


def test_it_is_told_when_the_dataset_trained_a_component(service: Service) -> None:
    dataset_id = service.dataset({"cat": 12, "dog": 12})
    part = service.train(service.queued(dataset_id))
    other = service.component({"cat": 3, "cow": 3}, start=50)
    compose(service, "all")
    found = solved(service, "all", dataset_id)
    assert found["solved"]["members_trained_on_dataset"] == [part]
    assert [each["id"] for each in found["components"]] == [part, other]  # no longer "all"


def test_what_cannot_be_solved_is_refused(shared, a, b, labelled):
    compose(shared, "s4", [a, b])
    before = shared.client.get("/v1/compositions/s4").json()
    problem(solve(shared, "none", labelled), 404, "composition_not_found")
    problem(solve(shared, "s4", "ds_none"), 404, "dataset_not_found")
    problem(solve(shared, "s4", labelled, l2=-1.0), 422, "invalid_request")
    problem(solve(shared, "s4", labelled, objective="hinge"), 422, "invalid_request")
    problem(solve(shared, "s4", shared.dataset({"yak": 20})), 422, "no_common_label")
    few = shared.dataset({"cat": 2, "yak": 20}, start=40)
    problem(solve(shared, "s4", few), 422, "too_few_images")
    stale = shared.client.post(
        "/v1/compositions/s4/solve",
        json={"dataset_id": labelled},
        headers={"If-Match": '"other"'},
    )
    problem(stale, 412, "composition_changed")
    for limit, most in (("max_solve_numbers", 100), ("max_attributed_components", 1)):
        limited = shared.settings.model_copy(update={limit: most})
        with shared.replaced(settings=limited):
            document = problem(solve(shared, "s4", labelled), 422, "solve_too_large")
        assert f"{most} " in document["detail"]
    assert shared.client.get("/v1/compositions/s4").json() == before


def test_components_alike_are_indefinite_without_a_penalty(service: Service) -> None:
    dataset_id = service.dataset({"cat": 4, "dog": 4})
    twins = [service.train(service.queued(dataset_id)) for _ in range(2)]
    compose(service, "twins", twins)
    other = service.dataset({"cat": 12, "dog": 12}, start=50)
    problem(solve(service, "twins", other, l2=0.0), 422, "problem_indefinite")
    weights = [each["weight"] for each in solved(service, "twins", other)["components"]]
    assert weights[0] == pytest.approx(weights[1])


def test_a_space_without_ready_components_has_nothing_to_solve(service: Service) -> None:
    dataset_id = service.dataset({"cat": 12})
    waiting = service.queued(dataset_id)
    compose(service, "all")
    problem(solve(service, "all", dataset_id), 409, "no_components")
    body = {"rule": "average", "components": [{"id": waiting}]}
    answer = service.client.put("/v1/compositions/one", json=body)
    problem(answer, 409, "component_not_ready")


def test_deleting_a_component_takes_the_weights_that_knew_it(either: Service) -> None:
    service = either
    parts = [service.component({label: 3, "dog": 2}) for label in ("cat", "cow", "hen")]
    dataset_id = service.dataset({"cat": 10, "cow": 8, "hen": 8}, start=60)
    compose(service, "fitted", parts)
    compose(service, "given", parts)
    compose(service, "others", parts[1:])
    solved(service, "fitted", dataset_id)
    others = solved(service, "others", dataset_id)

    receipt = service.client.delete(f"/v1/components/{parts[0]}").json()

    gone = receipt["body"]["invalidated"]
    assert gone["solved_weights"] == ["fitted"]
    assert [each["name"] for each in gone["compositions"]] == ["fitted", "given"]
    now = service.client.get("/v1/compositions/fitted").json()
    assert now["components"] == [{"id": each, "weight": None} for each in parts[1:]]
    assert now["rule"] == "average"  # uniform over those that remain
    about = {key: value for key, value in now["solved"].items() if value is not None}
    assert about == {
        "status": "invalidated",
        "objective": "cross_entropy",
        "l2": 0.01,
        "constraint": "none",
        "invalidated_by": receipt["id"],
    }
    assert gone["compositions"][0]["new_etag"] == now["etag"]
    assert service.client.get("/v1/compositions/others").json() == others
    verified = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert verified["ok"] and verified["residue"] == []
    assert solved(service, "fitted", dataset_id)["components"] == others["components"]


def test_deleting_the_dataset_takes_the_weights_fitted_to_it(either: Service) -> None:
    service = either
    parts = [service.component({label: 3, "dog": 2}) for label in ("cat", "cow")]
    dataset_id = service.dataset({"cat": 12, "cow": 12}, start=60)
    compose(service, "fitted", parts)
    old = solved(service, "fitted", dataset_id)

    receipt = service.client.delete(f"/v1/datasets/{dataset_id}").json()

    now = service.client.get("/v1/compositions/fitted").json()
    assert receipt["body"]["invalidated"]["solved_weights"] == ["fitted"]
    assert receipt["body"]["invalidated"]["compositions"] == [
        {"name": "fitted", "old_etag": old["etag"], "new_etag": now["etag"]}
    ]
    assert dataset_id not in json.dumps(now) and now["solved"]["status"] == "invalidated"
    assert [each["weight"] for each in now["components"]] == [None, None]
    assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]


@pytest.mark.parametrize("what", ["component", "composition"])
def test_what_changes_in_the_middle_ends_the_solving(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 12)
    parts = [service.component({label: 3, "dog": 2}) for label in ("cat", "cow")]
    dataset_id = service.dataset({"cat": 12, "cow": 12}, start=60)
    compose(service, "fitted", parts)
    reached, changed, forward = threading.Event(), threading.Event(), Engine.effects

    def waiting(self: Engine, *given: Any, **more: Any) -> Any:
        reached.set()
        assert changed.wait(30)
        return forward(self, *given, **more)

    monkeypatch.setattr(Engine, "effects", waiting)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(solve(service, "fitted", dataset_id)))
    thread.start()
    assert reached.wait(30)
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        if what == "component":
            assert client.delete(f"/v1/components/{parts[0]}").status_code == 200
        else:
            body = {"rule": "average", "components": [{"id": parts[0]}]}
            assert client.put("/v1/compositions/fitted", json=body).status_code == 200
        now = client.get("/v1/compositions/fitted").json()
    changed.set()
    thread.join(30)
    if what == "component":
        problem(answers[0], 410, "component_deleted")
    else:
        problem(answers[0], 409, "selection_changed")
    assert service.client.get("/v1/compositions/fitted").json() == now
