"""The page refuses a saved receipt of which anything was changed, and says which check failed."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import ledgers
from tests.support.ledgers import OTHER, ledger
from tests.support.page_process import Thrown
from tests.support.saved_receipts import (
    BODY,
    ENTRIES,
    NUMBER,
    RECEIPTS,
    SAVED,
    SIZE,
    Verified,
    failed,
    pem,
)


@pytest.fixture(scope="module")
def verified() -> Iterator[Any]:
    with Verified() as process:
        yield process.of


def edit(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def made(saved: dict[str, Any]) -> None:
        *way, last = path.split(".")
        place: Any = saved
        for name in way:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[int(last) if isinstance(place, list) else last] = value

    return made


OTHERS = ledger(None, *[OTHER] * (SIZE - 1), body=BODY)
OF_OTHERS = tuple(receipt["hash"].encode() for receipt in OTHERS)
TAMPERINGS = {
    "content": (edit("receipt.body.big", 2**70 + 1), "not what its hash was taken of"),
    "time": (edit("receipt.created_at", "2025-01-31T09:30:09.123456Z"), "not what its hash"),
    "hash": (edit("receipt.hash", "0" * 64), "not what its hash was taken of"),
    "signature": (edit("receipt.signature", "0" * 128), "not by its key"),
    "signature of another receipt": (
        edit("receipt.signature", RECEIPTS[6]["signature"]),
        "not by its key",
    ),
    "key id": (edit("receipt.key_id", "0" * 64), "a key that was not given"),
    "key": (edit("public_keys.0", pem(OTHER)), "a key that was not given"),
    "no key": (edit("public_keys.0", "-----BEGIN PUBLIC KEY-----"), "no Ed25519 key"),
    "proof": (edit("inclusion.hashes.1", "0" * 64), "not in the ledger of the checkpoint"),
    "shorter proof": (edit("inclusion.hashes", []), "not in the ledger of the checkpoint"),
    "proof of another": (
        edit("inclusion", ledgers.inclusion(ENTRIES, NUMBER)),
        "The proof is of another receipt",
    ),
    "proof of another size": (
        edit("inclusion", ledgers.inclusion(ENTRIES, NUMBER - 1, SIZE - 1)),
        "for a ledger of 10 receipts",
    ),
    "malformed proof": (edit("inclusion.hashes.0", "zz"), "it is no proof"),
    "checkpoint": (
        edit("checkpoint", ledgers.note(ENTRIES, SIZE).replace("\n11\n", "\n12\n")),
        "its signature is not by the key that it names",
    ),
    "checkpoint of another ledger": (
        edit("checkpoint", ledgers.note(OF_OTHERS, SIZE)),
        "not in the ledger of the checkpoint",
    ),
    "checkpoint by another key": (
        edit("checkpoint", ledgers.note(ENTRIES, SIZE, OTHER)),
        "none of the given keys has signed it",
    ),
    "no checkpoint": (edit("checkpoint", "hello"), "no empty line and signature"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_file_is_refused_with_the_check_that_failed(verified, name):
    tamper, message = TAMPERINGS[name]
    saved = copy.deepcopy(SAVED)
    tamper(saved)

    found = verified(saved)

    assert found["verdict"] == "refused"
    assert any(message in says for says in failed(found)), failed(found)


def test_every_byte_of_a_saved_file_is_guarded(verified):
    text = json.dumps(SAVED, ensure_ascii=False)
    content = text.encode()
    for place, byte in enumerate(content):
        changed_bytes = content[:place] + bytes([byte ^ 1]) + content[place + 1 :]
        try:
            other = changed_bytes.decode()
        except UnicodeDecodeError:
            continue
        found = verified(other)
        assert isinstance(found, Thrown) or found["verdict"] != "verified" or same(other), place


def same(text: str) -> bool:
    """Return whether a text says the same: white space of JSON and PEM is no content."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    for saved in (value, expected := copy.deepcopy(SAVED)):
        saved["public_keys"] = ["".join(each.split()) for each in saved["public_keys"]]
    return bool(value == expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON|ends in the middle|has no name"),
        ("[]", "it is no receipt"),
        (json.dumps(RECEIPTS[0] | {"more": 1}), "it is no receipt"),
        (json.dumps(RECEIPTS[1] | {"number": 1.5}), "it is no receipt"),
        (json.dumps(RECEIPTS[1] | {"signature": None}), "it is no receipt"),
        (json.dumps(SAVED | {"format": "other"}), "no file in the format"),
        (json.dumps(SAVED | {"more": 1}), "no file in the format"),
        (json.dumps(SAVED | {"checkpoint": 1}), "no file in the format"),
    ],
)
def test_a_file_that_is_no_receipt_is_refused(verified, text, message):
    found = verified(text)

    assert isinstance(found, Thrown)
    assert any(each in found.message for each in message.split("|")), found
