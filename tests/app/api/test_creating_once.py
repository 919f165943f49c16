"""Idempotency-Key: the same request twice creates once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.database.sessions import transaction
from app.database.tables import IdempotencyKey, Tombstone
from app.store.idempotency import hash_of
from tangent_composer.schemas.components import ComponentIn
from tests.support.client import WAIT
from tests.support.images import archive
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


def upload(service: Service, key: str, counts: dict[str, int], **fields: str) -> httpx.Response:
    files = {"file": ("a.zip", archive(counts), "application/zip")}
    headers = {"Idempotency-Key": key}
    return service.client.post("/v1/datasets", files=files, data=fields, headers=headers)


def evaluate(service: Service, key: str | None, **body: Any) -> httpx.Response:
    headers = WAIT if key is None else WAIT | {"Idempotency-Key": key}
    return service.client.post("/v1/evaluations", json=body, headers=headers)


def count(service: Service, noun: str) -> int:
    return len(service.client.get(f"/v1/{noun}?limit=100").json()["data"])


def test_an_upload_sent_twice_is_one_dataset(service: Service) -> None:
    first = upload(service, "k1", {"cat": 2}, name="cats")
    again = upload(service, "k1", {"cat": 2}, name="cats")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert count(service, "datasets") == 1
    blobs = [path for path in (service.settings.data_dir / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1
    assert not list((service.settings.data_dir / "scratch").iterdir())


@pytest.mark.parametrize(
    ("counts", "fields"), [({"cat": 3}, {"name": "cats"}), ({"cat": 2}, {"name": "dogs"})]
)
def test_the_key_with_another_upload_is_refused(
    service: Service, counts: dict[str, int], fields: dict[str, str]
) -> None:
    upload(service, "k1", {"cat": 2}, name="cats")
    problem(upload(service, "k1", counts, **fields), 422, "idempotency_key_reused")
    assert count(service, "datasets") == 1


def test_a_training_asked_for_twice_is_one_component(service: Service) -> None:
    body = {"dataset_id": service.dataset({"cat": 2})}
    headers = {"Idempotency-Key": "k1"}
    first = service.client.post("/v1/components", json=body, headers=headers)
    again = service.client.post("/v1/components", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert count(service, "components") == 1
    other = service.client.post("/v1/components", json=body | {"seed": 1}, headers=headers)
    problem(other, 422, "idempotency_key_reused")


def test_a_request_is_known_again_after_an_upgrade_of_the_service(service: Service) -> None:
    """A later version may have more fields; earlier ones counted those with defaults too."""
    body = {"dataset_id": service.dataset({"cat": 2})}
    headers = {"Idempotency-Key": "k1"}
    first = service.client.post("/v1/components", json=body, headers=headers).json()
    complete = ComponentIn(**body).model_dump(mode="json")
    assert complete.keys() > body.keys()
    for kept in (body, complete):
        with transaction(service.state.sessions) as session:
            row = session.scalars(select(IdempotencyKey)).one()
            assert kept is complete or row.request_hash == hash_of(body)
            row.request_hash = hash_of(kept)
        again = service.client.post("/v1/components", json=body | {"seed": 0}, headers=headers)
        assert (again.status_code, again.json()["id"]) == (202, first["id"])


def test_a_replay_shows_the_resource_as_it_is_now(service: Service) -> None:
    body = {"dataset_id": service.dataset({"cat": 2})}
    headers = {"Idempotency-Key": "k1"}
    first = service.client.post("/v1/components", json=body, headers=headers)
    service.train(first.json()["id"])
    again = service.client.post("/v1/components", json=body, headers=headers)
    assert (first.json()["status"], again.json()["status"]) == ("queued", "ready")


def test_an_evaluation_sent_twice_is_one_and_runs_once(service: Service) -> None:
    service.component({"cat": 2})
    dataset_id = service.dataset({"cat": 2}, start=9)
    first = evaluate(service, "k1", dataset_id=dataset_id)
    before = service.client.get("/metrics").text
    again = evaluate(service, "k1", dataset_id=dataset_id)
    assert first.status_code == again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    line = next(each for each in before.splitlines() if "forward_seconds_count" in each)
    assert line in service.client.get("/metrics").text
    other = evaluate(service, "k1", dataset_id=dataset_id, rule="average")
    problem(other, 422, "idempotency_key_reused")


def test_keys_belong_to_a_route(service: Service) -> None:
    dataset_id = upload(service, "k1", {"cat": 2}).json()["id"]
    body = {"dataset_id": dataset_id}
    answer = service.client.post("/v1/components", json=body, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 202


def test_without_a_key_everything_is_new(service: Service) -> None:
    assert service.dataset({"cat": 2}) != service.dataset({"cat": 2})


def test_a_failed_request_does_not_use_its_key_up(service: Service) -> None:
    problem(evaluate(service, "k1", dataset_id="ds_none"), 404, "dataset_not_found")
    dataset_id = service.dataset({"cat": 2})
    problem(evaluate(service, "k1", dataset_id=dataset_id), 409, "no_components")
    service.component({"cat": 2})
    assert evaluate(service, "k1", dataset_id=dataset_id).status_code == 201


def test_of_many_at_once_one_creates(service: Service) -> None:
    body = {"dataset_id": service.dataset({"cat": 2})}
    headers = {"Idempotency-Key": "k1"}
    with ThreadPoolExecutor(8) as pool:
        post = service.client.post
        answers = list(
            pool.map(lambda _: post("/v1/components", json=body, headers=headers), range(8))
        )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


def test_only_the_id_is_kept_and_a_deletion_takes_it_along(service: Service) -> None:
    dataset_id = upload(service, "k1", {"cat": 2}, name="secret-name").json()["id"]
    with transaction(service.state.reading) as session:
        (row,) = session.scalars(select(IdempotencyKey))
        kept = {column.name: getattr(row, column.name) for column in row.__table__.columns}
    assert kept["resource_id"] == dataset_id
    assert "secret-name" not in str(kept)
    service.client.delete(f"/v1/datasets/{dataset_id}")
    with transaction(service.state.reading) as session:
        assert session.scalar(select(func.count()).select_from(IdempotencyKey)) == 0
        spent = [row.subject_id for row in session.scalars(select(Tombstone))]
    assert not any("k1" in each or kept["request_hash"] in each for each in spent)


def test_a_late_retry_does_not_bring_back_what_was_deleted(either: Service) -> None:
    first = upload(either, "k1", {"cat": 2}, name="cats").json()["id"]
    receipt = either.client.delete(f"/v1/datasets/{first}").json()["id"]
    for counts in ({"cat": 2}, {"dog": 3}):  # of the first request nothing is known to compare
        again = problem(upload(either, "k1", counts, name="cats"), 410, "idempotency_key_spent")
        assert again["receipt_id"] == receipt
    assert count(either, "datasets") == 0
    assert not list((either.settings.data_dir / "scratch").iterdir())
    assert not list(either.state.blobs.keys())
    assert upload(either, "k2", {"cat": 2}, name="cats").status_code == 201


def test_a_late_retry_of_a_training_does_not_train_again(either: Service) -> None:
    body, headers = {"dataset_id": either.dataset({"cat": 2})}, {"Idempotency-Key": "k1"}
    component_id = either.client.post("/v1/components", json=body, headers=headers).json()["id"]
    receipt = either.client.delete(f"/v1/components/{component_id}").json()["id"]
    again = either.client.post("/v1/components", json=body, headers=headers)
    assert problem(again, 410, "idempotency_key_spent")["receipt_id"] == receipt
    assert count(either, "components") == 0
    assert upload(either, "k1", {"cat": 2}).status_code == 201, "a key belongs to its route"
    verified = either.client.post(f"/v1/receipts/{receipt}/verify").json()
    assert verified["ok"], verified


def test_a_late_retry_of_an_import_does_not_import_again(service: Service) -> None:
    trained = service.component({"cat": 2})
    data = service.client.get(f"/v1/components/{trained}/delta").content

    def imported() -> httpx.Response:
        files = {"file": ("a.safetensors", data, "application/octet-stream")}
        headers = {"Idempotency-Key": "k1"}
        return service.client.post(
            "/v1/components/import", files=files, data={"allow_duplicate": "true"}, headers=headers
        )

    service.client.delete(f"/v1/components/{imported().json()['id']}")
    before = list(service.state.blobs.keys())
    problem(imported(), 410, "idempotency_key_spent")
    assert list(service.state.blobs.keys()) == before


@pytest.mark.parametrize("key", ["x" * 256, "tab\there"])
def test_a_key_of_another_form_is_refused(service: Service, key: str) -> None:
    problem(evaluate(service, key, dataset_id="ds_none"), 422, "invalid_idempotency_key")


def open_space(service: Service, key: str, **other: Any) -> httpx.Response:
    body = {"name": "site", "backbone": service.settings.backbone, "scope": "head"} | other
    return service.client.post("/v1/spaces", json=body, headers={"Idempotency-Key": key})


def test_a_space_opened_twice_is_one(either: Service) -> None:
    first, again = open_space(either, "k1"), open_space(either, "k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    problem(open_space(either, "k1", labels=["cat"]), 422, "idempotency_key_reused")
    problem(open_space(either, "k2"), 409, "space_exists")


def test_of_many_that_open_a_space_at_once_one_does(service: Service) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: open_space(service, "k1"), range(4)))
    opened = [answer for answer in answers if answer.status_code == 201]
    for busy in (answer for answer in answers if answer not in opened):
        problem(busy, 503, "spaces_opening")  # which is repeated with the same key
    assert sum("idempotent-replayed" not in answer.headers for answer in opened) == 1
    assert open_space(service, "k1").headers["idempotent-replayed"] == "true"


def test_a_late_retry_does_not_open_a_deleted_space_again(either: Service) -> None:
    open_space(either, "k1")
    receipt = either.client.delete("/v1/spaces/site").json()["id"]
    again = problem(open_space(either, "k1"), 410, "idempotency_key_spent")
    assert again["receipt_id"] == receipt
    problem(either.client.get("/v1/spaces/site"), 404, "space_not_found")
    assert open_space(either, "k2").status_code == 201
