"""A data folder of the version before: present code shows, answers and proves what that one did.

tests/fixtures/version_before.py made the folder and the record; it says by which versions.
"""

import copy
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.database import migrate
from app.settings import Settings
from tests.support import arithmetic
from tests.support.observations import differences, observed
from tests.support.service import KEY_FREE, Service
from tests.support.signing_keys import key_file

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
RECORD = json.loads((FIXTURES / "version_before.json").read_text())
SHOWN = RECORD["shown"]
NEAR = 1e-4  # of a logit, where the processor or torch is another
KEY_SEED = 46


@pytest.fixture
def served(serve, tmp_path: Path) -> Service:
    """The present service on a copy of the folder, migrated first."""
    folder = tmp_path / "kept"
    with tarfile.open(FIXTURES / "version_before.tar.xz") as archive:
        # The archive is our own; Python 3.11 before 3.11.4 has no filters.
        how = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **how)  # type: ignore[arg-type]
    migrate.upgrade(Settings(data_dir=folder, **KEY_FREE))
    key = key_file(tmp_path / "key.pem", KEY_SEED)
    # That version's probabilities were the softmax of the logits, as they are without calibration.
    return serve(data_dir=folder, receipt_key_file=key, calibration_images=0)


@pytest.fixture
def tolerance(served: Service) -> float:
    """Return the tolerance of numbers: 0 where this machine's arithmetic is the recorded one."""
    assert served.settings.threads == 1
    return 0.0 if arithmetic.difference(RECORD["circumstances"]) is None else NEAR


def test_all_that_was_shown_answered_and_proved_is_the_same(served, tolerance):
    now = observed(served, RECORD["images"])

    assert list(differences(_as_shown_now(), now, tolerance)) == []
    assert all(each["ok"] for each in now["verifications"])
    signed = [each["signature_ok"] for each in now["verifications"] if each["signature_ok"]]
    assert len(signed) == sum(each["body"]["version"] == 2 for each in SHOWN["receipts"]) > 0


def _as_shown_now() -> dict[str, Any]:
    """Return the record, with an l2 that the data chose where that version showed the default."""
    shown = copy.deepcopy(SHOWN)
    for component in shown["components"]:
        if component["hyperparameters"].get("choose_l2") and "l2" in component["metrics"]:
            component["hyperparameters"]["l2"] = component["metrics"]["l2"]
    return shown


def test_the_record_holds_receipts_of_both_versions_of_every_kind():
    kinds = {(each["body"]["version"], each["body"]["subject"]["kind"]) for each in receipts()}

    assert kinds == {(v, k) for v in (1, 2) for k in ("component", "dataset", "image", "labels")}
    rules = {each["answer"]["rule"] for each in SHOWN["answers"] if "answer" in each}
    assert rules == {"average", "weighted", "joint"}


def test_nothing_that_was_deleted_has_come_back(served):
    there = {each["id"] for kind in ("components", "datasets") for each in SHOWN[kind]}
    paths = {"component": "components", "dataset": "datasets"}
    gone = [
        (f"/v1/{paths[subject['kind']]}/{subject['id']}", receipt["id"])
        for receipt in receipts()
        for subject in receipt["body"]["subjects"]
        if subject["kind"] in paths and subject["id"] not in there
    ]

    assert len(gone) >= 8
    for path, receipt_id in gone:
        answer = served.client.get(path)
        assert answer.status_code == 410 and receipt_id in answer.text, answer.text


def test_the_stored_receipts_hold_away_from_the_service(served, tmp_path, capsys):
    pages, key = tmp_path / "receipts.json", tmp_path / "public.pem"
    pages.write_text(served.client.get("/v1/receipts?limit=100").text)
    key.write_text(SHOWN["key"]["public_key"])
    head = SHOWN["head"]["hash"]

    status = main(["verify-receipts", str(pages), "--public-key", str(key), "--head", head])

    told = capsys.readouterr().out
    assert status == 0, told
    assert str(len(receipts())) in told and head in told


def test_the_next_deletion_continues_the_ledger_from_the_stored_head(served):
    chosen = next(each for each in SHOWN["components"] if each["name"] == "pets heads")
    path = f"/v1/components/{chosen['id']}"

    answer = served.client.delete(path, params={"probe": True})

    assert answer.status_code == 200, answer.text
    receipt = answer.json()
    assert receipt["number"] == SHOWN["head"]["number"] + 1
    assert receipt["previous_hash"] == SHOWN["head"]["hash"]
    assert receipt["key_id"] == SHOWN["key"]["key_id"]
    listed = served.client.get("/v1/receipts?limit=100").json()["data"]
    assert listed == [*receipts(), receipt]
    for each in listed:
        found = served.client.post(f"/v1/receipts/{each['id']}/verify").json()
        assert found["ok"], found
    assert served.client.get(path).status_code == 410
    joint = {"images": [{"b64": RECORD["images"][0]}], "composition": "head-joint"}
    used = served.client.post("/v1/predictions", json=joint).json()["components"]
    names = {each["id"]: each["name"] for each in SHOWN["components"]}
    assert [names[each["id"]] for each in used] == ["stock heads"]


def receipts() -> list[dict[str, Any]]:
    return SHOWN["receipts"]


def test_every_kind_of_change_counts_as_a_difference():
    before = {"logit": 1.0, "probe_ok": True, "list": [1, None], "sha256": "a"}
    changes: list[dict[str, Any]] = [
        *({"logit": 1.0001}, {"probe_ok": False}, {"list": [1]}, {"list": [1, 0]}),
        *({"sha256": "b"}, {"logit": 1}),
    ]

    assert list(differences(before, before | {"later": 1}, 0.0)) == []
    assert all(list(differences(before, before | each, 0.0)) for each in changes)
    assert list(differences(before, {"logit": 1.0, "list": [1, None], "sha256": "a"}, 0.0))
    near = {"logit": 1.00001, "probe_ok": None}
    assert list(differences(before, before | near, NEAR)) == []
    assert len(list(differences(before, before | near, 0.0))) == 2
