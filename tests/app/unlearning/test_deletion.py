"""A deletion happens once and leaves nothing, with any other request in between."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.database.sessions import transaction
from app.database.tables import Evaluation, EvaluationMember
from app.receipts import ledger
from app.store import components
from tests.support.client import compose, delete, predict, verify
from tests.support.images import image
from tests.support.service import Service

Serve = Callable[..., Service]


def test_a_deleted_component_is_gone_from_everything_that_used_it(either):
    service = either
    a, b = service.component({"cat": 3, "dog": 3}), service.component({"cow": 3, "dog": 3})
    row = service.client.get(f"/v1/components/{a}").json()
    both, only, other = (
        compose(service, "both", [a, b], "joint")["etag"],
        compose(service, "only", [a], "joint")["etag"],
        compose(service, "other", [b], "joint")["etag"],
    )
    used = evaluated(service, a, row["sha256"], row["dataset_id"])
    assert predict(service).json()["components"][0]["id"] == a

    receipt = delete(service, f"components/{a}")

    body = receipt["body"]
    now = {name: service.client.get(f"/v1/compositions/{name}").json() for name in ("both", "only")}
    assert body["invalidated"] == {
        "compositions": [
            {"name": "both", "old_etag": both, "new_etag": now["both"]["etag"]},
            {"name": "only", "old_etag": only, "new_etag": now["only"]["etag"]},
        ],
        "solved_weights": [],
        "evaluations": [used],
    }
    assert now["both"]["components"] == [{"id": b, "weight": None}]
    assert service.client.get("/v1/compositions/other").json()["etag"] == other
    removed = {each["kind"]: each for each in body["removed"]}
    assert removed["component_file"]["sha256"] == row["sha256"]
    assert removed["component_file"]["bytes"] == row["bytes"]
    assert removed["events"]["count"] == 3 and removed["job_records"]["count"] == 1
    assert body["labels"][0]["count"] == 1  # the dog is b's as well
    assert service.client.get("/v1/spaces/default").json()["labels"] == ["cow", "dog"]
    evaluation = service.client.get(f"/v1/evaluations/{used}")
    assert a not in evaluation.text and row["sha256"] not in evaluation.text
    assert evaluation.json()["status"] == "invalidated"
    after = predict(service).json()
    assert [part["id"] for part in after["components"]] == [b]
    assert {each["label"] for each in after["results"][0]["predictions"]} == {"cow", "dog"}
    alone = predict(service, composition="only")
    assert (alone.status_code, alone.json()["code"]) == (409, "no_components")
    assert verify(service, receipt)["ok"]


def evaluated(service: Service, component_id: str, sha256: str, dataset_id: str) -> str:
    """An evaluation's rows, as if it had been run."""
    with transaction(service.state.sessions) as session:
        row = Evaluation(
            space="default",
            dataset_id=dataset_id,
            status="ready",
            selection={
                "space": "default",
                "fingerprint": "f",
                "rule": "joint",
                "composition": None,
                "components": [{"id": component_id, "weight": 1.0, "sha256": sha256}],
            },
            result={"num_images": 1, "accuracy": 1.0, "labels": {}, "confusion": {}},
        )
        session.add(row)
        session.flush()
        session.add(EvaluationMember(evaluation_id=row.id, component_id=component_id))
        return row.id


def test_a_deleted_component_answers_410_with_its_receipt(shared):
    component_id = shared.component({"cat": 3})
    receipt = delete(shared, f"components/{component_id}")

    requests = [
        ("GET", f"components/{component_id}", None),
        ("GET", f"components/{component_id}/events", None),
        ("GET", f"components/{component_id}/delta", None),
        ("POST", f"components/{component_id}/cancel", None),
        ("DELETE", f"components/{component_id}", None),
        ("PUT", "compositions/x", {"rule": "joint", "components": [{"id": component_id}]}),
    ]
    for method, path, body in requests:
        answer = shared.client.request(method, f"/v1/{path}", json=body)
        assert answer.status_code == 410, (path, answer.text)
        found = answer.json()
        assert (found["code"], found["receipt_id"]) == ("component_deleted", receipt["id"])
    answer = predict(shared, components=component_id)
    assert (answer.status_code, answer.json()["receipt_id"]) == (410, receipt["id"])


def test_of_many_deletions_at_once_one_gets_the_receipt(either):
    service = either
    ids = [service.queued(service.dataset({"cat": 2}, start=n)) for n in range(3)]

    def ask(component_id: str) -> httpx.Response:
        return httpx.delete(f"{service.url}/v1/components/{component_id}", timeout=60)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, ids * 4))

    for component_id in ids:
        found = [a for a in answers if a.url.path.endswith(component_id)]
        assert sorted(answer.status_code for answer in found) == [200, 410, 410, 410]
        (receipt,) = (answer.json() for answer in found if answer.status_code == 200)
        assert {a.json().get("receipt_id", receipt["id"]) for a in found} == {receipt["id"]}
    listed = service.client.get("/v1/receipts").json()["data"]
    assert [receipt["number"] for receipt in listed] == [1, 2, 3]
    assert all(verify(service, receipt)["ok"] for receipt in listed)


@pytest.mark.parametrize("status", ["queued", "training", "failed", "cancelled"])
def test_a_component_of_any_status_can_be_deleted(shared, status):
    component_id = shared.queued(shared.dataset({"cat": 3}))
    with transaction(shared.state.sessions) as session:
        if status in ("training", "failed"):
            components.start(session, component_id, executor_id="w")
        if status == "failed":
            components.fail(session, component_id, code="x", detail="y")
        if status == "cancelled":
            components.cancel(session, component_id)
    work = shared.state.blobs.scratch_path(component_id)
    work.mkdir()
    (work / "features.bin").write_bytes(b"pixels")

    receipt = delete(shared, f"components/{component_id}")

    assert verify(shared, receipt)["ok"]
    assert not work.exists()
    with transaction(
        shared.state.sessions
    ) as session:  # the answers to a worker that still runs it
        assert components.start(session, component_id, executor_id="w") is None
        assert not components.progress(session, component_id, {"step": 1})
        assert not components.publish(
            session, component_id, blob_key="k", sha256="s", bytes=1, labels={}, metrics={}
        )


def test_a_dataset_in_use_is_kept_unless_the_deletion_cascades(either):
    service = either
    dataset_id = service.dataset({"cat": 3})
    ids = [service.train(service.queued(dataset_id)), service.queued(dataset_id)]
    evaluation = evaluated(service, "cmp_other", "x", dataset_id)

    refused = service.client.delete(f"/v1/datasets/{dataset_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "dataset_in_use")
    assert refused.json()["components"] == sorted(ids)
    assert all(each in refused.json()["detail"] for each in ids)
    assert service.client.get(f"/v1/datasets/{dataset_id}").status_code == 200

    receipt = delete(service, f"datasets/{dataset_id}?cascade=true")

    assert verify(service, receipt)["ok"]
    assert receipt["body"]["invalidated"]["evaluations"] == [evaluation]
    removed = {each["kind"]: each["count"] for each in receipt["body"]["removed"]}
    assert (removed["images"], removed["components"], removed["datasets"]) == (3, 2, 1)
    for path in (f"datasets/{dataset_id}", *(f"components/{each}" for each in ids)):
        for method in ("GET", "DELETE"):
            answer = service.client.request(method, f"/v1/{path}")
            assert (answer.status_code, answer.json()["receipt_id"]) == (410, receipt["id"])
    body = {"dataset_id": dataset_id}
    assert service.client.post("/v1/components", json=body).status_code == 410
    assert list(service.state.blobs.keys()) == []
    shown = service.client.get(f"/v1/evaluations/{evaluation}").json()
    assert (shown["status"], shown["dataset_id"]) == ("invalidated", None)


def test_a_deletion_that_cannot_be_committed_removes_nothing(shared, monkeypatch):
    component_id = shared.component({"cat": 3})
    before = shared.client.get(f"/v1/components/{component_id}/delta").content

    def fails(*_, **__):
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "append", fails)
        answer = shared.client.delete(f"/v1/components/{component_id}")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert shared.client.get(f"/v1/components/{component_id}").json()["status"] == "ready"
    assert shared.client.get(f"/v1/components/{component_id}/delta").content == before


def test_no_answer_after_a_deletion_contains_the_component(service):
    keep, gone = service.component({"cat": 3}), service.component({"dog": 3})
    sha256 = service.client.get(f"/v1/components/{gone}").json()["sha256"]
    answers: list[tuple[float, httpx.Response]] = []
    stop = time.monotonic() + 60

    def ask() -> None:
        with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
            while time.monotonic() < stop:
                sent, headers = time.monotonic(), {"Content-Type": "image/png"}
                data = image("dog", 7)
                answers.append(
                    (sent, client.post("/v1/predictions", content=data, headers=headers))
                )

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(ask) for _ in range(3)]
        while len(answers) < 10:
            time.sleep(0.01)
        delete(service, f"components/{gone}")
        deleted, count = time.monotonic(), len(answers)
        while len(answers) < count + 10:
            time.sleep(0.01)
        stop = 0
        for each in running:
            each.result()

    assert {answer.status_code for _, answer in answers} == {200}
    assert any(sha256 in answer.text for _, answer in answers)
    later = [answer for sent, answer in answers if sent > deleted]
    assert later and not any(gone in a.text or "dog" in a.text for a in later)
    assert all(keep in answer.text for answer in later)


def test_compositions_put_while_their_component_is_deleted_never_keep_it(either):
    service = either
    dataset_id = service.dataset({"cat": 2})
    gone = service.train(service.queued(dataset_id))
    body = {"rule": "joint", "components": [{"id": gone}]}

    def put(number: int) -> int:
        url = f"{service.url}/v1/compositions/c{number % 3}"
        return httpx.put(url, json=body, timeout=60).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(put, number) for number in range(9)]
        receipt = delete(service, f"components/{gone}")
        answers += [pool.submit(put, number) for number in range(9)]

    assert {answer.result() for answer in answers} <= {200, 201, 410}
    assert verify(service, receipt)["ok"]
    for each in service.client.get("/v1/compositions").json()["data"]:
        assert each["components"] == []


def test_a_dataset_goes_with_several_hundred_components(service):
    dataset_id = service.dataset({"cat": 1})
    ids = [service.queued(dataset_id, seed=seed) for seed in range(350)]

    receipt = delete(service, f"datasets/{dataset_id}", cascade="true")

    assert [each["id"] for each in receipt["body"]["subjects"]] == [*ids, dataset_id]
