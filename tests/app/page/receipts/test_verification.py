"""The page verifies every receipt that the project keeps, and refuses a ledger that was changed."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import ledgers
from tests.support.ledgers import KEYS, OTHER, ledger
from tests.support.rfc6962 import tree_hash
from tests.support.saved_receipts import (
    BODY,
    ENTRIES,
    NUMBER,
    RECEIPTS,
    SAVED,
    SIZE,
    Verified,
    failed,
)

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
VERSION_BEFORE = json.loads((FIXTURES / "version_before.json").read_text())["shown"]
OTHERS = ledger(None, *[OTHER] * (SIZE - 1), body=BODY)
OF_OTHERS = tuple(receipt["hash"].encode() for receipt in OTHERS)


@pytest.fixture(scope="module")
def verified() -> Iterator[Any]:
    with Verified() as process:
        yield process.of


def changed(**members: Any) -> dict[str, Any]:
    return SAVED | members


def test_a_sound_receipt_is_verified_step_by_step(verified):
    found = verified(SAVED)

    assert found["verdict"] == "verified"
    assert {name: step["state"] for name, step in found["steps"].items()} == dict.fromkeys(
        ["Content", "Public key", "Signature", "Checkpoint", "Place in the ledger"], "passed"
    )
    assert [found["key"]] == list(KEYS)
    assert found["steps"]["Content"]["computed"] == RECEIPTS[NUMBER - 1]["hash"]
    assert found["steps"]["Place in the ledger"]["computed"] == tree_hash(ENTRIES).hex()


@pytest.mark.parametrize("receipt", VERSION_BEFORE["receipts"], ids=lambda each: each["id"])
def test_receipts_that_earlier_versions_wrote_have_their_hash_and_signature(verified, receipt):
    found = verified(
        SAVED
        | {"receipt": receipt, "inclusion": None, "checkpoint": None}
        | {"public_keys": [VERSION_BEFORE["key"]["public_key"]]}
    )

    assert failed(found) == [] and found["verdict"] == "incomplete"
    assert found["steps"]["Content"]["state"] == "passed"
    signed = "passed" if "key_id" in receipt else "not run"
    assert found["steps"]["Signature"]["state"] == signed


def test_the_chain_of_an_earlier_version_holds_to_its_last_receipt(verified):
    *before, last = VERSION_BEFORE["receipts"]
    saved = SAVED | {"receipt": last, "inclusion": None, "checkpoint": None}
    found = verified(saved | {"public_keys": [VERSION_BEFORE["key"]["public_key"]]}, before=before)

    assert failed(found) == []
    assert found["steps"]["Chain"]["state"] == "passed"


def test_a_receipt_alone_is_not_called_verified(verified):
    found = verified(RECEIPTS[NUMBER - 1])

    assert found["verdict"] == "incomplete"
    states = {name: step["state"] for name, step in found["steps"].items()}
    assert states.pop("Content") == "passed"
    assert set(states.values()) == {"not run"}


def test_a_receipt_from_before_there_was_a_key_is_held_by_the_signed_ledger(verified):
    found = verified(changed(receipt=RECEIPTS[0], inclusion=ledgers.inclusion(ENTRIES, 0)))

    assert found["verdict"] == "verified"
    assert found["steps"]["Signature"]["state"] == "not run"


def test_the_chain_is_checked_from_the_first_receipt_on(verified):
    before = RECEIPTS[: NUMBER - 1]
    assert verified(SAVED, before=before)["steps"]["Chain"]["state"] == "passed"

    unread = verified(SAVED, before=None)
    assert (unread["verdict"], unread["steps"]["Chain"]["state"]) == ("verified", "not run")

    for wrong, message in (
        (before[1:], "one is missing, or out of order"),
        ([OTHERS[0], OTHERS[1], *before[2:]], "it does not follow from the one before it"),
        ([before[0] | {"body": {}}, *before[1:]], "it is not what its hash was taken of"),
    ):
        found = verified(SAVED, before=wrong)
        assert found["verdict"] == "refused" and message in failed(found)[0]


SEEN = {"origin": ledgers.ORIGIN, "size": 6, "root": tree_hash(ENTRIES[:6]).hex()}


def test_a_ledger_that_has_grown_since_it_was_seen_is_sound(verified):
    found = verified(SAVED, seen=SEEN, consistency=ledgers.growth(ENTRIES, 6))
    assert (found["verdict"], found["steps"]["Growth"]["state"]) == ("verified", "passed")

    now = SEEN | {"size": SIZE, "root": tree_hash(ENTRIES).hex()}
    assert verified(SAVED, seen=now)["steps"]["Growth"]["state"] == "passed"


grown = partial(ledgers.growth, ENTRIES)


@pytest.mark.parametrize(
    ("seen", "proof", "message"),
    [
        (SEEN | {"root": tree_hash(OF_OTHERS[:6]).hex()}, grown(6), "The ledger was rewritten"),
        (SEEN | {"size": SIZE, "root": tree_hash(OF_OTHERS).hex()}, None, "was rewritten"),
        (SEEN | {"size": 20}, None, "The ledger was cut"),
        (SEEN | {"origin": "tangent-composer/rcpt_9"}, grown(6), "another ledger"),
        (SEEN, grown(7), "of other moments"),
        (SEEN, {"first": 6}, "it is no proof"),
    ],
)
def test_a_ledger_that_was_changed_since_it_was_seen_is_refused(verified, seen, proof, message):
    found = verified(SAVED, seen=seen, **({} if proof is None else {"consistency": proof}))

    assert found["verdict"] == "refused" and message in failed(found)[0]


@pytest.mark.parametrize("missing", ["subtle", "Ed25519"])
def test_a_check_that_the_browser_cannot_make_is_never_called_passed(missing):
    spoilt = {
        "subtle": 'Object.defineProperty(globalThis, "crypto", { value: {} });',
        "Ed25519": """crypto.subtle.importKey = async () => {
          throw Object.assign(new Error(), { name: "NotSupportedError" });
        };""",
    }[missing]
    with Verified(spoilt) as process:
        found = process.of(SAVED)

    states = {name: step["state"] for name, step in found["steps"].items()}
    assert found["verdict"] == "incomplete"
    unsigned = {"Signature", "Checkpoint", "Place in the ledger"}
    assert {name for name, state in states.items() if state == "not run"} == (
        set(states) if missing == "subtle" else unsigned
    )
    reason = {"subtle": "no cryptography", "Ed25519": "has no Ed25519"}[missing]
    assert any(reason in step["says"] for step in found["steps"].values())
