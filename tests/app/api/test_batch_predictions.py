"""Batch predictions: queued, cancelled, deleted, owned; deletions take their results back."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.database.sessions import transaction
from app.database.tables import BatchPrediction
from tests.support.archives import archive as packed_in
from tests.support.batches import PATH, begun, blobs, sent
from tests.support.client import DELETIONS, delete, until_ended
from tests.support.held_passes import HeldPasses
from tests.support.images import archive
from tests.support.keys import by, sending, wait_for
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

SCOPE = "head"


@pytest.fixture
def held(service: Service, monkeypatch: pytest.MonkeyPatch) -> HeldPasses:
    """A service with a component, whose passes are held back."""
    service.component({"cat": 3, "dog": 3})
    return HeldPasses(monkeypatch)


def test_what_cannot_be_predicted_is_refused_at_once(two: TwoComponents) -> None:
    dataset_id = two.service.dataset({"cat": 1}, start=460)

    def post(**body: Any) -> httpx.Response:
        return two.service.client.post(PATH, json=body)

    problem(post(dataset_id="ds_none"), 404, "dataset_not_found")
    problem(post(dataset_id=dataset_id, composition="none"), 404, "composition_not_found")
    problem(post(dataset_id=dataset_id, labels=["none"]), 422, "unknown_label")
    problem(post(dataset_id=dataset_id, top_k=101), 422, "invalid_request")
    problem(post(dataset_id=dataset_id, deterministc=True), 422, "invalid_request")
    problem(post(), 422, "invalid_request")
    problem(sent(two.service, archive({"cat": 1}), split="test"), 422, "invalid_request")
    by_query = two.service.client.post(f"{PATH}?split=val", json={"dataset_id": dataset_id})
    problem(by_query, 422, "split_empty")
    files = {"file": ("images.zip", archive({"cat": 1}))}
    refused = problem(
        two.service.client.post(f"{PATH}?split=val", files=files), 422, "invalid_request"
    )
    assert "all images of an archive are predicted" in str(refused["errors"])
    problem(two.service.client.post(PATH, content=b"x"), 415, "unsupported_media_type")
    problem(sent(two.service, b"x"), 415, "not_an_archive")
    problem(sent(two.service, archive({"cat": 1}), labels="none"), 422, "unknown_label")
    problem(sent(two.service, archive({"cat": 1}), dataset_id="ds_1"), 422, "invalid_request")
    empty = packed_in({"a.txt": b"no image"}, "zip")
    assert problem(sent(two.service, empty), 422, "no_images")["num_rejected"] == 1
    no_file = {"rule": (None, "average")}
    refused = problem(two.service.client.post(PATH, files=no_file), 422, "invalid_request")
    assert "file" in refused["detail"]
    problem(two.service.client.get(f"{PATH}/bp_none"), 404, "batch_prediction_not_found")
    problem(two.service.client.get(f"{PATH}/bp_none/results"), 404, "batch_prediction_not_found")
    assert not list(two.service.state.blobs.scratch.iterdir())


def test_a_cancelled_one_has_no_results_and_no_archive(service: Service, held: HeldPasses) -> None:
    path = f"batch-predictions/{sent(service, archive({'cat': 3}, 9)).json()['id']}"
    held.wait_for_one()
    problem(service.client.get(f"/v1/{path}/results"), 409, "batch_prediction_not_ready")
    assert len(blobs(service)) == 1
    cancelled = service.client.post(f"/v1/{path}/cancel").json()
    assert cancelled["status"] == "cancelled"
    for_ever = problem(service.client.get(f"/v1/{path}/results"), 409, "batch_prediction_not_ready")
    assert "was cancelled" in for_ever["detail"] and "tells when" not in for_ever["detail"]
    assert blobs(service) == []
    held.go.set()
    other = begun(service, dataset_id=service.dataset({"cat": 1}, start=70))
    assert until_ended(service, other)["status"] == "ready"
    assert service.client.get(f"/v1/{path}").json() == cancelled
    refused = service.client.post(f"/v1/{path}/cancel")
    problem(refused, 409, "batch_prediction_finished")
    assert not list(service.state.blobs.scratch.iterdir())


def test_a_deleted_one_leaves_nothing_also_while_it_is_computed(
    service: Service, held: HeldPasses
) -> None:
    path = f"batch-predictions/{sent(service, archive({'cat': 3}, 9)).json()['id']}"
    held.wait_for_one()
    assert service.client.delete(f"/v1/{path}").status_code == 204
    problem(service.client.get(f"/v1/{path}"), 404, "batch_prediction_not_found")
    assert not list(service.state.blobs.scratch.iterdir())  # although it is still computed
    held.go.set()
    other = begun(service, dataset_id=service.dataset({"cat": 1}, start=70))
    until_ended(service, other)
    assert service.client.delete(f"/v1/{other}").status_code == 204
    assert blobs(service) == []
    assert not list(service.state.blobs.scratch.iterdir())
    assert service.client.get(PATH).json()["data"] == []


def test_the_list_comes_in_pages_and_by_dataset(two: TwoComponents) -> None:
    dataset_id = two.service.dataset({"cat": 1}, start=470)
    made = [begun(two.service, dataset_id=dataset_id).rpartition("/")[2] for _ in range(3)]
    for each in made:
        until_ended(two.service, f"batch-predictions/{each}")
    first = two.service.client.get(f"{PATH}?dataset_id={dataset_id}&limit=2").json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made[:2], True)
    rest = two.service.client.get(f"{PATH}?dataset_id={dataset_id}&after={first['next']}").json()
    assert [each["id"] for each in rest["data"]] == made[2:]


@pytest.mark.parametrize("what", DELETIONS)
@pytest.mark.parametrize("when", ["queued", "running", "ready"])
def test_a_deletion_of_what_it_uses_takes_its_results_back(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    part = service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3, "dog": 1}, start=50)
    held = HeldPasses(monkeypatch)
    if when == "ready":
        held.go.set()
    elif when == "queued":  # behind two others
        other = service.dataset({"cat": 1}, start=80)
        for number in (1, 2):
            begun(service, dataset_id=other)
            held.wait_for(number)
    path = begun(service, dataset_id=dataset_id)
    if when == "running":
        held.wait_for_one()
    elif when == "ready":
        until_ended(service, path)
        assert len(blobs(service)) == 2
    receipt = DELETIONS[what](service, part, dataset_id)
    held.go.set()
    found = until_ended(service, path)
    assert (found["status"], found["invalidated_by"]) == ("invalidated", receipt["id"])
    gone = problem(service.client.get(f"/v1/{path}/results"), 410, "results_invalidated")
    assert gone["receipt_id"] == receipt["id"]
    assert found["id"] in receipt["body"]["invalidated"]["batch_predictions"]
    files = [each for each in receipt["body"]["removed"] if "batch" in each["kind"]]
    wanted = {"batch_prediction_files"} if when == "ready" else set()
    assert {each["kind"] for each in files} - {"batch_prediction_members"} == wanted
    kept = [key for key in blobs(service) if found["id"] in key]
    assert kept == []
    verified = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert verified["ok"], verified


def test_a_deletion_names_no_part_of_an_invalidated_one(service: Service) -> None:
    part = service.component({"cat": 3, "dog": 3})
    path = f"batch-predictions/{sent(service, archive({'cat': 3}, 9)).json()['id']}"
    until_ended(service, path)
    preview = service.client.get(f"/v1/components/{part}/deletion-preview").json()
    assert preview["batch_predictions"] == 1
    delete(service, f"components/{part}")
    assert part not in service.client.get(f"/v1/{path}").text
    assert blobs(service) == []


def test_a_key_keeps_no_more_than_its_quotas(serve: Callable[..., Service]) -> None:
    guarded = serve(api_key="correct-horse-battery")
    guarded.component({"cat": 3, "dog": 3})
    dataset_id = guarded.dataset({"cat": 2}, start=20)
    limits = {"max_batch_predictions": 1}
    with by(guarded, "read", "predict", limits=limits) as client:
        head = {"Idempotency-Key": "once"}
        first = client.post(PATH, json={"dataset_id": dataset_id}, headers=head)
        assert first.status_code == 202, first.text
        again = client.post(PATH, json={"dataset_id": dataset_id}, headers=head)
        assert (again.json()["id"], again.headers["idempotent-replayed"]) == (
            first.json()["id"],
            "true",
        )
        refused = problem(client.post(PATH, json={"dataset_id": dataset_id}), 403, "quota_exceeded")
        assert refused["quota"] == "max_batch_predictions"
        until_ended(guarded, f"batch-predictions/{first.json()['id']}")
        assert client.delete(f"{PATH}/{first.json()['id']}").status_code == 204
        assert client.post(PATH, json={"dataset_id": dataset_id}).status_code == 202
    with by(guarded, "read", "predict", limits={"max_bytes": 100}) as client:
        files = {"file": ("images.zip", archive({"cat": 3}))}
        refused = problem(client.post(PATH, files=files), 403, "quota_exceeded")
        assert refused["quota"] == "max_bytes"
    with by(guarded, "read") as client:
        problem(client.post(PATH, json={"dataset_id": dataset_id}), 403, "scope_missing")
    entries = guarded.client.get("/v1/audit?limit=100").json()["data"]
    made = [each for each in entries if each["action"] == "POST /v1/batch-predictions"]
    assert first.json()["id"] in made[0]["objects"]


def test_a_repeated_archive_is_answered_before_any_refusal(serve: Callable[..., Service]) -> None:
    guarded = serve(api_key="correct-horse-battery")
    guarded.component({"cat": 3, "dog": 3})
    files, head = {"file": ("images.zip", archive({"cat": 3}))}, {"Idempotency-Key": "once"}
    with by(guarded, "read", "predict", limits={"max_batch_predictions": 1}) as client:

        def ask() -> httpx.Response:
            return client.post(PATH, files=files, headers=head)

        first = ask()
        assert first.status_code == 202, first.text
        again = ask()
        assert again.status_code == 202, again.text
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["id"] == first.json()["id"]
        other = {"file": ("images.zip", archive({"cat": 4}))}
        answer = client.post(PATH, files=other, headers=head)
        problem(answer, 422, "idempotency_key_reused")


def test_others_see_nothing_of_it_where_they_do_not_see_the_space(
    serve: Callable[..., Service],
) -> None:
    guarded = serve(api_key="correct-horse-battery")
    with by(guarded, "read", "predict", "train") as owner, by(guarded, "read", "predict") as other:
        body = {"name": "own", "backbone": "resnet_micro_32", "scope": "head"}
        assert owner.post("/v1/spaces", json=body).status_code == 201
        files = {"file": ("images.zip", archive({"cat": 3, "dog": 3}))}
        fields = {"space": "own", "train": "true"}
        dataset = owner.post("/v1/datasets", files=files, data=fields).json()
        guarded.train(dataset["component"]["id"])
        made = owner.post(PATH, json={"dataset_id": dataset["id"], "space": "own"})
        assert made.status_code == 202, made.text
        url = f"{PATH}/{made.json()['id']}"
        until_ended(guarded, url.removeprefix("/v1/"))
        assert owner.get(f"{url}/results").status_code == 200
        for answer in (
            other.get(url),
            other.get(f"{url}/results"),
            other.post(f"{url}/cancel"),
            other.delete(url),
        ):
            problem(answer, 404, "batch_prediction_not_found")
        assert other.get(PATH).json()["data"] == []
        assert len(owner.get(PATH).json()["data"]) == 1


def test_the_metrics_count_evaluations_and_batch_predictions_by_status(
    service: Service, held: HeldPasses
) -> None:
    dataset_id = service.dataset({"cat": 1}, start=70)
    for number in (1, 2):  # as many as a process computes at a time
        begun(service, dataset_id=dataset_id)
        held.wait_for(number)
    service.client.post("/v1/evaluations", json={"dataset_id": dataset_id})
    text = service.client.get("/metrics").text
    assert 'tangent_jobs{kind="batch_prediction",status="running"} 2.0' in text
    assert 'tangent_jobs{kind="evaluation",status="queued"} 1.0' in text
    assert 'tangent_jobs{kind="evaluation",status="failed"} 0.0' in text
    held.go.set()


def test_a_row_names_no_file_of_an_ended_one_that_is_not_there(service: Service) -> None:
    service.component({"cat": 3, "dog": 3})
    answer = sent(service, archive({"cat": 2}, 5))
    until_ended(service, f"batch-predictions/{answer.json()['id']}")
    with transaction(service.state.reading) as session:
        row = session.get_one(BatchPrediction, answer.json()["id"])
        keys = sorted(key for key in (row.csv_key, row.jsonl_key, row.archive_key) if key)
    wait_for(lambda: keys == blobs(service))  # the archive goes after the row has said so
    size = sum(service.state.blobs.path(key).stat().st_size for key in keys)
    assert row.bytes == size


def test_a_key_sees_no_results_of_a_dataset_that_it_may_not_see(two: TwoComponents) -> None:
    service = two.service
    with by(service, "admin") as admin:
        keys = [
            admin.post("/v1/keys", json={"name": "k", "scopes": scopes}).json()["key"]
            for scopes in (["read", "train", "predict"], ["read"])
        ]
        with sending(service, keys[0]) as owner, sending(service, keys[1]) as stranger:
            space = {"name": "mine", "backbone": "resnet_micro_32", "scope": "head"}
            assert owner.post("/v1/spaces", json=space).status_code == 201
            sent_file = {"file": ("a.zip", archive({"cat": 2}))}
            dataset = owner.post("/v1/datasets", files=sent_file, data={"space": "mine"}).json()
            made = owner.post(PATH, json={"dataset_id": dataset["id"]})
            assert made.status_code == 202, made.text
            id_ = made.json()["id"]
            place = f"{PATH}/{id_}"
            assert owner.get(place).status_code == 200
            assert id_ in {each["id"] for each in owner.get(PATH).json()["data"]}
            problem(stranger.get(place), 404, "batch_prediction_not_found")
            problem(stranger.get(f"{place}/results"), 404, "batch_prediction_not_found")
            assert id_ not in {each["id"] for each in stranger.get(PATH).json()["data"]}
