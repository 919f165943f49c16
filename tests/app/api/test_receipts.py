"""Receipts: the ledger shows every change, and a verification reports faults."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import IdempotencyKey
from app.errors import Problem
from app.files.blobs import LocalBlobs
from app.receipts import ledger as receipts
from app.receipts.verify import verify_rows
from app.settings import Settings
from tests.support.problems import problem
from tests.support.service import Service


def deleted(service: Service, component_id: str) -> dict:
    answer = service.client.delete(f"/v1/components/{component_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def verified(service: Service, receipt: dict) -> dict:
    answer = service.client.post(f"/v1/receipts/{receipt['id']}/verify")
    assert answer.status_code == 200, answer.text
    return answer.json()


def execute(service: Service, statement: str, **values) -> None:
    with transaction(service.state.sessions) as session:
        session.execute(text(statement), values)


@pytest.fixture(scope="module")
def ledger(shared: Service) -> list[dict]:
    """The receipts of three deletions."""
    dataset_id = shared.dataset({"cat": 3})
    return [deleted(shared, shared.queued(dataset_id)) for _ in range(3)]


def test_anyone_can_recompute_the_chain_from_the_answers_alone(shared, ledger):
    previous = "0" * 64
    for number, receipt in enumerate(ledger, 1):
        sealed = {key: value for key, value in receipt.items() if key != "hash"}
        text_ = json.dumps(sealed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

        assert receipt["hash"] == hashlib.sha256(text_.encode()).hexdigest()
        assert (receipt["number"], receipt["previous_hash"]) == (number, previous)
        previous = receipt["hash"]
        assert shared.client.get(f"/v1/receipts/{receipt['id']}").json() == receipt


def test_the_list_and_the_head_show_the_ledger(shared, ledger):
    first = shared.client.get("/v1/receipts?limit=2").json()
    second = shared.client.get("/v1/receipts", params={"after": first["next"]}).json()

    assert first["data"] + second["data"] == ledger
    assert (first["has_more"], second["has_more"]) == (True, False)
    last = ledger[-1]
    assert shared.client.get("/v1/receipts/head").json() == {
        "number": 3,
        "id": last["id"],
        "hash": last["hash"],
    }


def test_before_the_first_deletion_the_head_is_zeros(service):
    head = {"number": 0, "id": None, "hash": "0" * 64}

    assert service.client.get("/v1/receipts/head").json() == head
    assert service.client.get("/v1/receipts").json() == {
        "data": [],
        "has_more": False,
        "next": None,
    }


def test_an_unknown_receipt_is_404(shared):
    for method, path in [("GET", ""), ("POST", "/verify")]:
        answer = shared.client.request(method, f"/v1/receipts/rcpt_none{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "receipt_not_found")


def test_a_sound_receipt_verifies_and_says_what_it_cannot_see(shared, ledger):
    for receipt in ledger:
        found = verified(shared, receipt)

        assert found["ok"] and found["chain_ok"] and found["residue"] == []
        assert found["not_covered"] == receipt["body"]["not_covered"] != []
        assert {"rows", "blobs", "job_records", "idempotency_keys"} <= set(found["checked"])


@pytest.fixture
def sessions(migrated: Path, tmp_path: Path) -> Iterator[sessionmaker[Session]]:
    """A database with three receipts in it."""
    shutil.copytree(migrated, tmp_path / "data")
    settings = Settings(data_dir=tmp_path / "data", database_url=None, api_key=None)
    engine = open_engine(settings)
    made = session_factory(engine)
    for name in ("rcpt_a", "rcpt_b", "rcpt_c"):
        body = {"subjects": [], "manifests": [{"space": "default", "after": "x"}], "name": name}
        with transaction(made) as session:
            receipts.append(session, receipt_id=name, body=body)
    yield made
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE receipt SET body = '{\"version\": 2}' WHERE number = 2", 2),
        ("UPDATE receipt SET body = '[1]' WHERE number = 3", 3),
        ("UPDATE receipt SET created_at = '2020-01-01 00:00:00' WHERE number = 1", 1),
        ("UPDATE receipt SET previous_hash = hash WHERE number = 3", 3),
        ("UPDATE receipt SET id = 'rcpt_d' WHERE number = 1", 1),
        ("DELETE FROM receipt WHERE number = 2", 2),
        ("DELETE FROM receipt WHERE number = 1", 1),
        ("UPDATE receipt SET number = 4 WHERE number = 3", 3),
    ],
)
def test_a_ledger_that_was_tampered_with_does_not_verify(sessions, tmp_path, change, broken_at):
    blobs = LocalBlobs(tmp_path / "blobs")
    with transaction(sessions) as session:
        assert receipts.broken_at(session) is None
        session.execute(text(change))

    with transaction(sessions) as session:
        left = receipts.list_(session, after=None, limit=9)
        found = [verify_rows(session, blobs, receipt) for receipt in left]

    assert len(found) >= 2
    for each in found:
        assert (each["ok"], each["chain_ok"], each["chain_broken_at"]) == (False, False, broken_at)


def test_the_manifest_tells_the_components_that_remained(service):
    a, b = service.component({"cat": 3}), service.component({"dog": 3})
    shas = [service.client.get(f"/v1/components/{each}").json()["sha256"] for each in (a, b)]

    receipt = deleted(service, a)

    (manifest,) = receipt["body"]["manifests"]
    assert manifest == {
        "space": "default",
        "before": hashlib.sha256(
            json.dumps(sorted(shas), separators=(",", ":")).encode()
        ).hexdigest(),
        "components_before": 2,
        "after": hashlib.sha256(json.dumps([shas[1]]).encode()).hexdigest(),
        "components_after": 1,
    }
    assert verified(service, receipt)["manifest_ok"] is True

    service.component({"cow": 3})
    assert verified(service, receipt)["manifest_ok"] is True  # one that came later is no change

    second = deleted(service, b)
    assert verified(service, receipt)["manifest_ok"] is None
    assert verified(service, second)["manifest_ok"] is True


def test_a_component_that_vanished_without_a_receipt_contradicts_the_manifest(service):
    a, b = service.component({"cat": 3}), service.component({"dog": 3})
    receipt = deleted(service, a)
    execute(service, "DELETE FROM component WHERE id = :id", id=b)

    found = verified(service, receipt)

    assert (found["ok"], found["chain_ok"], found["manifest_ok"]) == (False, True, False)


def test_whatever_comes_back_of_the_deleted_is_residue(service):
    dataset_id = service.dataset({"cat": 3})
    component_id = service.queued(dataset_id)
    receipt = deleted(service, component_id)
    blobs, kinds = service.state.blobs, []

    path = blobs.scratch_path(component_id)
    path.write_bytes(b"x")
    kinds.append(left_over(service, receipt))
    blobs.put(path, f"components/{component_id}/x.safetensors")
    kinds.append(left_over(service, receipt))
    with transaction(service.state.sessions) as session:
        session.add(
            IdempotencyKey(
                key="k", route="r", request_hash="h", status=202, resource_id=component_id
            )
        )
        service.state.jobs.enqueue(session, component_id)
    kinds.append(left_over(service, receipt))

    assert kinds == [
        {"scratch_files"},
        {"blobs"},
        {"blobs", "idempotency_keys", "job_records"},
    ]


def left_over(service: Service, receipt: dict) -> set[str]:
    found = verified(service, receipt)
    assert found["ok"] is (found["residue"] == [])
    return {each["kind"] for each in found["residue"]}


def test_a_receipt_holds_hashes_of_content_and_no_content(service):
    dataset_id = service.dataset({"Mrs Smith": 3}, name="ward seven")
    sha256 = service.client.get(f"/v1/datasets/{dataset_id}").json()["sha256"]
    component_id = service.train(service.queued(dataset_id, name="secret name"))

    answer = service.client.delete(f"/v1/datasets/{dataset_id}?cascade=true")

    receipt, body = answer.text, answer.json()["body"]
    for content in ("Mrs Smith", "ward seven", "secret name", sha256, ".png"):
        assert content not in receipt
    assert {each["id"] for each in body["subjects"]} == {dataset_id, component_id}
    salted = hashlib.sha256(f"{body['salt']}:Mrs Smith".encode()).hexdigest()
    assert body["labels"] == [{"space": "default", "count": 1, "salted_sha256": [salted]}]
    archive = hashlib.sha256(f"{body['salt']}:{sha256}".encode()).hexdigest()
    assert body["salted_archive_sha256"] == archive


def test_a_deletion_that_fails_leaves_no_receipt(service):
    with pytest.raises(Problem), transaction(service.state.sessions) as session:
        receipts.append(session, receipt_id="rcpt_x", body={})
        raise Problem("any", "any")

    assert service.client.get("/v1/receipts/head").json()["number"] == 0


def test_one_receipt_is_verified_at_a_time(
    shared: Service, ledger: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.receipts.verify.PATIENCE_SECONDS", 0.05)
    with shared.state.verifying:
        answer = shared.client.post(f"/v1/receipts/{ledger[0]['id']}/verify")
        problem(answer, 503, "verification_busy")
        assert answer.headers["Retry-After"] == "5"
    verified(shared, ledger[0])
