"""The body of a receipt describes the deletion, and older bodies stay as they were written."""

import hashlib
import json
import platform
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import text

from app.database.sessions import transaction
from app.inference.deletion_gate import Ticket
from app.receipts import body as bodies
from app.receipts import ledger, remaining
from tangent_composer.canonical_json import canonical
from tangent_composer.schemas.receipts import EXAMPLE
from tests.support.service import Service

ROOT = Path(__file__).resolve().parents[3]
RECORD = json.loads((ROOT / "tests" / "fixtures" / "version_before.json").read_text())
STORED = [receipt["body"] for receipt in RECORD["shown"]["receipts"]]


def deleted(service: Service) -> dict:
    component_id = service.queued(service.dataset({"cat": 2}))
    answer = service.client.delete(f"/v1/components/{component_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def time_of(stamp: str) -> datetime:
    assert stamp.endswith("Z")
    return datetime.fromisoformat(stamp)


def test_a_receipt_has_the_time_of_the_request_and_the_code_that_did_it(service):
    before = datetime.now(UTC)
    first, second = deleted(service), deleted(service)

    for number, receipt in enumerate((first, second), 1):
        body = receipt["body"]
        assert (body["version"], body["epoch"], receipt["number"]) == (3, number, number)
        assert before <= time_of(body["requested_at"]) < time_of(receipt["created_at"])
        assert body["code"]["version"] == version("tangent-composer")
        assert body["environment"] == {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "torch": version("torch"),
            "timm": version("timm"),
        }
        assert socket.gethostname() not in json.dumps(receipt)


def test_the_code_is_one_hash_over_the_python_files_that_anyone_can_compute():
    lines = []
    shared = ("canonical_json.py", "labels.py", "receipts/*.py", "schemas/*.py", "vocabulary.py")
    patterns = [f"{name}/**/*.py" for name in ("app", "migrations", "tangent", "training_worker")]
    for pattern in (*patterns, *(f"tangent_composer/{name}" for name in shared)):
        for path in sorted(ROOT.glob(pattern)):
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{path.relative_to(ROOT)} {found}\n")

    assert bodies.code()["sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_time_of_the_request_is_before_the_wait_for_answers_being_sent(service):
    component_id = service.queued(service.dataset({"cat": 2}))
    ticket, found = Ticket(service.state.gate), []
    ticket.enter()  # an answer is on its way

    def ask() -> None:
        found.append(service.client.delete(f"/v1/components/{component_id}").json())

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    ticket.leave()
    asking.join(30)

    waited = time_of(found[0]["created_at"]) - time_of(found[0]["body"]["requested_at"])
    assert waited > timedelta(seconds=0.3)


# As a service of before wrote it: five members, the body at version 1.
OLD = {
    "number": 1,
    "id": "rcpt_0190",
    "created_at": "2025-01-31T09:30:00.123456Z",
    "body": {
        "version": 1,
        "subject": {"kind": "component", "id": "cmp_0190"},
        "subjects": [{"kind": "component", "id": "cmp_0190"}],
        "salt": "b7",
        "salted_archive_sha256": None,
        "removed": [{"kind": "components", "count": 1}],
        "invalidated": {"compositions": [], "solved_weights": [], "evaluations": []},
        "labels": [{"space": "default", "count": 0, "salted_sha256": []}],
        "manifests": [
            {
                "space": "default",
                "before": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
                "components_before": 0,
                "after": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
                "components_after": 0,
            }
        ],
        "not_covered": ["component files and images that were downloaded"],
    },
    "previous_hash": "0" * 64,
}
OLD_HASH = "a2a281bf985c3f029a304f3b113a9bdd2595d3ce0a594087fda9a5ef4923ab18"


def test_a_receipt_of_version_1_verifies_and_newer_ones_follow_from_it(service):
    with transaction(service.state.sessions) as session:
        session.execute(
            text(
                "INSERT INTO receipt (number, id, body, previous_hash, hash, created_at) "
                "VALUES (1, 'rcpt_0190', :body, :previous, :hash, '2025-01-31 09:30:00.123456')"
            ),
            {"body": json.dumps(OLD["body"]), "previous": "0" * 64, "hash": OLD_HASH},
        )
    newer = deleted(service)

    shown = service.client.get("/v1/receipts/rcpt_0190").json()
    assert shown == OLD | {"hash": OLD_HASH}
    assert newer["previous_hash"] == OLD_HASH
    for receipt in (shown, newer):
        found = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
        assert found["ok"], found
        assert (found["signature_ok"], found["probe_ok"]) == (None, None)


def test_malformed_bodies_break_the_chain_but_not_the_verification(service):
    """Whoever can write the table might leave such bodies."""
    receipt = deleted(service)
    entries = [None, 1, [], "x", {}, {"space": []}, {"space": "default", "after": 1}]
    bodies = [[], 1, *(dict.fromkeys(("subjects", "manifests", "probes"), entries),)]
    bodies += [{"probes": [{"space": "none"}], "manifests": 5, "subjects": {}}]
    nowhere = {"space": "none", "after": remaining.manifest_of([])[0]}
    bodies += [{"probes": [{"space": "none"}], "manifests": [nowhere]}]
    for body in bodies:
        with transaction(service.state.sessions) as session:
            session.execute(text("UPDATE receipt SET body = :body"), {"body": json.dumps(body)})
        answer = service.client.post(f"/v1/receipts/{receipt['id']}/verify")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["ok"], answer.json()["chain_broken_at"]) == (False, 1)


@pytest.mark.parametrize("number", range(len(STORED)))
def test_a_stored_body_is_written_as_it_was_read(number):
    """The bodies are of both versions and of every kind of subject."""
    stored = STORED[number]

    body = bodies.read(stored)

    assert canonical(bodies.written(body)) == canonical(stored)
    assert [subject.id for subject in body.subjects] == [each["id"] for each in stored["subjects"]]


def test_the_example_in_the_api_is_a_body_that_the_service_could_write():
    example = EXAMPLE["body"]

    assert bodies.written(bodies.read(example)) == example


@pytest.mark.parametrize("stored", [None, 1, "x", [], [1], {}, {"version": 1}, {"version": "2"}])
def test_a_body_without_members_is_read_as_empty(stored):
    body = bodies.read(stored)

    assert (body.subjects, body.manifests, body.dataset_id) == ((), (), None)
    assert not body.salt and not body.invalidated.compositions


def test_malformed_entries_of_a_body_are_left_out():
    whole = STORED[-1]["manifests"][0]
    part = {"space": "default", "after": "a8"}
    entries = [None, 1, [], "x", {}, part, whole | {"components_after": "1"}, whole]

    body = bodies.read({"manifests": entries, "subjects": {"id": "cmp_0190"}, "probes": [1, {}]})

    (manifest,) = body.manifests
    assert (manifest.space, manifest.after) == (whole["space"], whole["after"])
    assert (body.subjects, body.probes) == ((), ({},))


def test_the_receipt_lists_all_that_no_check_can_see(service):
    receipt = deleted(service)
    found = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()

    assert receipt["body"]["not_covered"] == found["not_covered"] == list(bodies.NOT_COVERED)
    assert any("backups" in each for each in found["not_covered"])
    with transaction(service.state.reading) as session:
        assert ledger.broken_at(session) is None
