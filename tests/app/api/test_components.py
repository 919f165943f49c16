"""Components over HTTP: queued, listed, cancelled, failed."""

import pytest
from sqlalchemy.exc import OperationalError

import tangent
from app.database.sessions import transaction
from app.store import components
from tests.support.problems import problem
from tests.support.service import Service

UNKNOWN = "cmp_000000000000000000000000"


@pytest.fixture(scope="module")
def dataset_id(shared: Service) -> str:
    return shared.dataset({"cat": 3, "dog": 3}, name="pets")


def test_a_queued_component_is_accepted_with_its_place_and_resolved_settings(shared, dataset_id):
    answer = shared.client.post(
        "/v1/components",
        json={"dataset_id": dataset_id, "hyperparameters": {"l2": 0.01}, "metadata": {"a": "b"}},
    )

    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/components/{body['id']}"
    assert (body["status"], body["name"], body["seed"]) == ("queued", "pets", 0)
    assert body["hyperparameters"]["l2"] == 0.01
    assert (
        body["hyperparameters"]
        == tangent.Hyperparameters.resolve("head2toe", {"l2": 0.01}).as_dict()
    )
    assert body["labels"] == ["cat", "dog"] and body["images"] == {"cat": 3, "dog": 3}
    assert body["metadata"] == {"a": "b"}
    assert body["sha256"] is None and body["error"] is None
    assert shared.client.get(answer.headers["Location"]).json() == body


@pytest.mark.parametrize(
    ("given", "status", "code", "says"),
    [
        ({"dataset_id": "ds_none"}, 404, "dataset_not_found", "ds_none"),
        ({"space": "nowhere"}, 404, "space_not_found", "default"),
        ({"hyperparameters": {"l2": -1}}, 422, "bad_hyperparameter", "l2 is -1"),
        ({"hyperparameters": {"speed": 1}}, 422, "bad_hyperparameter", "speed"),
        ({"hyperparameters": {"l2": "much"}}, 422, "bad_hyperparameter", "much"),
        ({"seed": -1}, 422, "invalid_request", "/seed"),
        ({"seed": 2**63}, 422, "invalid_request", "/seed"),
        ({"metadata": {"a": {"b": 1}}}, 422, "invalid_request", "/metadata/a"),
        ({"colour": "red"}, 422, "invalid_request", "/colour"),
        ({"name": ""}, 422, "invalid_request", "/name"),
        ({"name": "a\0b"}, 422, "invalid_request", "/name"),
    ],
)
def test_a_component_that_cannot_be_trained_is_refused_with_the_reason(
    shared, dataset_id, given, status, code, says
):
    before = len(shared.client.get("/v1/components?limit=100").json()["data"])

    answer = shared.client.post("/v1/components", json={"dataset_id": dataset_id} | given)

    assert says in problem(answer, status, code)["detail"]
    assert len(shared.client.get("/v1/components?limit=100").json()["data"]) == before


def test_a_repeated_idempotency_key_queues_one_component(shared, dataset_id):
    headers, body = {"Idempotency-Key": "once"}, {"dataset_id": dataset_id, "name": "only"}

    first = shared.client.post("/v1/components", json=body, headers=headers)
    second = shared.client.post("/v1/components", json=body, headers=headers)

    assert first.json() == second.json()
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["Idempotent-Replayed"] == "true"
    names = [row["name"] for row in shared.client.get("/v1/components?limit=100").json()["data"]]
    assert names.count("only") == 1


def test_a_component_without_its_job_does_not_come_into_being(service):
    dataset_id = service.dataset({"cat": 3})

    class Broken:
        def enqueue(self, session, component_id):
            raise RuntimeError("no queue")

    with service.replaced(jobs=Broken()):
        answer = service.client.post("/v1/components", json={"dataset_id": dataset_id})

    problem(answer, 500, "internal_error")
    assert service.client.get("/v1/components").json()["data"] == []


def test_pages_by_status_and_space_list_each_component_once(service):
    dataset_id = service.dataset({"cat": 3})
    ids = [service.queued(dataset_id, name=f"n{number}") for number in range(5)]
    service.client.post(f"/v1/components/{ids[1]}/cancel")

    seen, after = [], None
    while True:
        query = {"limit": 2, "status": "queued"} | ({"after": after} if after else {})
        page = service.client.get("/v1/components", params=query).json()
        seen += [row["id"] for row in page["data"]]
        after = page["next"]
        assert page["has_more"] == (after is not None)
        if after is None:
            break

    assert seen == [ids[0], *ids[2:]]
    cancelled = service.client.get("/v1/components?status=cancelled").json()["data"]
    assert [row["id"] for row in cancelled] == [ids[1]]
    assert service.client.get("/v1/components?space=other").json()["data"] == []
    problem(service.client.get("/v1/components?status=late"), 422, "invalid_request")


def test_a_cancelled_component_is_neither_started_nor_published_nor_cancelled_twice(service):
    component_id = service.queued(service.dataset({"cat": 3}))

    answer = service.client.post(f"/v1/components/{component_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    with transaction(service.state.sessions) as session:
        assert components.start(session, component_id, executor_id="w") is None
        assert not components.progress(session, component_id, {"step": 1})
        assert not components.publish(
            session, component_id, blob_key="k", sha256="s", bytes=1, labels={}, metrics={}
        )
        assert not components.fail(session, component_id, code="x", detail="y")
    again = service.client.post(f"/v1/components/{component_id}/cancel")
    problem(again, 409, "component_finished")
    assert "is cancelled already" in again.json()["detail"]


def test_of_two_attempts_that_publish_one_wins(service):
    component_id = service.queued(service.dataset({"cat": 3}))
    values = {"sha256": "s", "bytes": 1, "labels": {"cat": 3}, "metrics": {}}

    with transaction(service.state.sessions) as session:
        components.start(session, component_id, executor_id="one")
        components.start(session, component_id, executor_id="two")
        first = components.publish(session, component_id, blob_key="a", **values)
        second = components.publish(session, component_id, blob_key="b", **values)
        row = components.get(session, component_id)

    assert (first, second, row.blob_key, row.attempts) == (True, False, "a", 2)


def test_a_failed_training_shows_its_error(service):
    component_id = service.queued(service.dataset({"cat": 3}))
    with transaction(service.state.sessions) as session:
        components.start(session, component_id, executor_id="w")
        assert components.fail(session, component_id, code="no_memory", detail="take fewer images")

    shown = service.client.get(f"/v1/components/{component_id}").json()

    assert shown["status"] == "failed"
    assert shown["error"] == {"code": "no_memory", "detail": "take fewer images"}
    assert problem(
        service.client.get(f"/v1/components/{component_id}/delta"), 409, "component_not_ready"
    )


def test_an_unknown_component_is_404_everywhere(shared):
    for method, path in [
        ("GET", ""),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("GET", "/delta"),
        ("DELETE", ""),
    ]:
        answer = shared.client.request(method, f"/v1/components/{UNKNOWN}{path}")
        problem(answer, 404, "component_not_found")


def test_a_cancelling_that_took_place_says_so_whatever_becomes_of_the_job(service, monkeypatch):
    component_id = service.queued(service.dataset({"cat": 2}))

    def fail(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("the line was cut"))

    monkeypatch.setattr(service.state.jobs, "cancel", fail)
    answer = service.client.post(f"/v1/components/{component_id}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    shown = service.client.get(f"/v1/components/{component_id}").json()
    assert shown["status"] == "cancelled"
