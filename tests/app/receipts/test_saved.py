"""A receipt that the page has saved is checked in a shell, by a fingerprint noted elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.cli import main
from tangent_composer.receipts.signatures import key_id_of
from tests.support import ledgers
from tests.support.ledgers import OTHER, PRIVATE, ledger

RECEIPTS = ledger(None, *[PRIVATE] * 6)
ENTRIES = tuple(receipt["hash"].encode() for receipt in RECEIPTS)
PEM, OTHER_PEM = (
    key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for key in (PRIVATE, OTHER)
)
FINGERPRINT = key_id_of(PRIVATE.public_key())
SAVED: dict[str, Any] = {
    "format": "tangent-composer/saved-receipt/1",
    "receipt": RECEIPTS[4],
    "inclusion": ledgers.inclusion(ENTRIES, 4),
    "checkpoint": ledgers.note(ENTRIES, 7),
    "public_keys": [PEM],
}


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command on a saved file; return its exit status and what it says."""

    def made(saved: Any, *flags: str) -> tuple[int, str]:
        file = tmp_path / "saved.json"
        file.write_text(saved if isinstance(saved, str) else json.dumps(saved))
        status = main(["verify-receipts", str(file), *flags])
        said = capsys.readouterr()
        return status, said.out + said.err

    return made


def test_the_fingerprint_of_the_key_is_enough(told):
    expected = "receipt 5 (rcpt_5) is as it was written, and the signed ledger of 7 receipts holds"

    for noted in (FINGERPRINT, " ".join([FINGERPRINT[:32], FINGERPRINT[32:]]).upper()):
        status, said = told(SAVED, "--fingerprint", noted)
        assert (status, expected in said) == (0, True), said


def test_a_receipt_from_before_there_was_a_key_is_held_by_the_signed_ledger(told):
    saved = SAVED | {"receipt": RECEIPTS[0], "inclusion": ledgers.inclusion(ENTRIES, 0)}

    assert told(saved, "--fingerprint", FINGERPRINT)[0] == 0


def test_the_key_in_the_file_is_not_trusted_for_being_there(told):
    status, said = told(SAVED)
    assert status == 2 and "give --fingerprint" in said

    forged = ledger(None, *[OTHER] * 6)
    entries = tuple(receipt["hash"].encode() for receipt in forged)
    theirs = SAVED | {
        "receipt": forged[4],
        "inclusion": ledgers.inclusion(entries, 4),
        "checkpoint": ledgers.note(entries, 7, OTHER),
    }
    status, said = told(theirs | {"public_keys": [OTHER_PEM]}, "--fingerprint", FINGERPRINT)
    assert status == 2 and "no key in" in said
    status, said = told(theirs | {"public_keys": [OTHER_PEM, PEM]}, "--fingerprint", FINGERPRINT)
    assert status == 1 and "none of the given keys has signed it" in said


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("receipt", RECEIPTS[4] | {"body": {}}, "is not what its hash was taken of"),
        ("receipt", RECEIPTS[4] | {"signature": "0" * 128}, "a signature that is not by its key"),
        ("receipt", RECEIPTS[5], "is not the receipt of the proof"),
        ("inclusion", ledgers.inclusion(ENTRIES, 4, 6), "a proof for size 6"),
        ("inclusion", ledgers.inclusion(ENTRIES, 4) | {"hashes": []}, "is not in the tree"),
        ("inclusion", None, "is no such proof"),
        ("checkpoint", ledgers.note(ENTRIES, 6), "not for the checkpoint's"),
        ("checkpoint", "hello", "cannot be trusted: it has no empty line"),
        ("checkpoint", None, "has no checkpoint"),
        ("public_keys", ["hello"], "it is no public key in PEM"),
        ("public_keys", [1], "it is no public key in PEM"),
        ("public_keys", PEM, "no whole file in the format"),
        ("format", "another", "no whole file in the format"),
        ("more", 1, "no whole file in the format"),
    ],
)
def test_a_changed_file_is_refused_with_the_reason(told, member, value, message):
    status, said = told(SAVED | {member: value}, "--fingerprint", FINGERPRINT)

    assert status == 1 and message in said, said


def test_flags_that_do_not_go_together_are_refused(told, tmp_path):
    page = json.dumps(RECEIPTS[4])
    assert told(page, "--fingerprint", FINGERPRINT)[0] == 2
    assert told(SAVED, "--fingerprint", FINGERPRINT, "--head", "0" * 64)[0] == 2
    other = tmp_path / "page.json"
    other.write_text(page)
    assert told(SAVED, str(other), "--fingerprint", FINGERPRINT)[0] == 2


def test_a_key_in_a_file_of_its_own_can_be_given_instead(told, tmp_path):
    key = tmp_path / "public.pem"
    key.write_text(PEM)

    assert told(SAVED, "--public-key", str(key))[0] == 0
