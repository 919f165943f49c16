"""Offline verification of a ledger, from the receipts' JSON and the public keys alone.

    receipts = read(texts)                        pages of GET /v1/receipts, or a receipt a line
    faults = check(receipts, keys, head=noted)    [] if every receipt is as it was written

Without a key that was noted elsewhere, whoever can write the whole ledger can forge another one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tangent_composer.receipts.signatures import ZEROS, Ed25519PublicKey, hash_of, holds

HASHED = frozenset(["number", "id", "created_at", "body", "previous_hash"])
SIGNED = frozenset(["key_id", "signature"])
PAGE = frozenset(["data", "has_more", "next"])
TEXTS = ("id", "created_at", "previous_hash", "hash", *sorted(SIGNED))

Receipt = dict[str, Any]
Keys = Mapping[str, Ed25519PublicKey]  # by key_id


class BadLedger(Exception):
    """Text without receipts as the service shows them; the message says where and why."""


def read(texts: Iterable[tuple[str, str]]) -> list[Receipt]:
    """Return the receipts of (name, text) pairs, in their order.

    A text is one JSON value, or one a line: a page, a list of receipts, or a receipt.

    Raises:
        BadLedger: for any other text, and if the last page says that there are more.
    """
    receipts: list[Receipt] = []
    more = False
    for name, text in texts:
        for where, value in _values(name, text):
            page = _page(value)
            if page is not None:
                more = page["has_more"]
                value = page["data"]
            receipts += [_receipt(where, entry) for entry in _listed(value)]
    if more:
        raise BadLedger("the last page says that there are more: save the pages after it as well")
    return receipts


def _values(name: str, text: str) -> Iterator[tuple[str, Any]]:
    """Yield the JSON values of the text, with their places."""
    if not text.strip():
        raise BadLedger(f"{name} is empty")
    try:
        whole = parsed(text)
    except (ValueError, RecursionError) as error:
        reason = error
    else:
        yield name, whole
        return
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                yield f"{name}:{number}", parsed(line)
        except (ValueError, RecursionError) as error:
            raise BadLedger(
                f"{name} is neither one JSON value ({reason}) nor one a line (line {number}: "
                f"{error}): give what GET /v1/receipts answers"
            ) from None


def parsed(text: str) -> Any:
    """Return the JSON value, if it has one reading only.

    Raises:
        ValueError, RecursionError: otherwise.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two equal names they take, and the hash covers only one.
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has the same name twice")
    return members


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def _page(value: Any) -> dict[str, Any] | None:
    if not (isinstance(value, dict) and "data" in value):
        return None
    data, more = value["data"], value.get("has_more")
    if set(value) != PAGE or not isinstance(data, list) or not isinstance(more, bool):
        raise BadLedger("a page must have data, has_more and next, as GET /v1/receipts answers")
    last = data[-1].get("id") if data and isinstance(data[-1], dict) else None
    if value["next"] != (last if more else None):
        raise BadLedger("a page's next is not its last receipt")
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _receipt(where: str, value: Any) -> Receipt:
    """Return the value if it has a receipt's members and no others."""
    if isinstance(value, dict):
        names = frozenset(value)
        complete = names - SIGNED == HASHED | {"hash"} and names & SIGNED in (frozenset(), SIGNED)
        texts = all(isinstance(value[name], str) for name in TEXTS if name in value)
        if complete and texts and type(value["number"]) is int:
            return value
    raise BadLedger(f"{where} is no receipt: give what GET /v1/receipts answers, whole")


def check(receipts: Sequence[Receipt], keys: Keys, *, head: str | None = None) -> list[str]:
    """Return the faults of a ledger from its first receipt on, as sentences.

    With keys, every receipt after the first signed one must be signed by one of the keys. `head` is
    a hash that was noted, which a receipt must have; every ledger has grown from 64 zeros.
    """
    faults, previous, signed = [], ZEROS, False
    for number, receipt in enumerate(receipts, 1):
        mine = _chain_faults(receipt, number, previous)
        if keys:
            unsigned = "key_id" not in receipt
            mine += ["is not signed, but one before it is"] if unsigned and signed else []
            mine += signature_faults(receipt, keys)
        faults += [f"receipt {number} ({receipt['id']}) {fault}" for fault in mine]
        previous, signed = receipt["hash"], signed or "key_id" in receipt
    if keys and receipts and not signed:
        faults.append("no receipt is signed")
    if head not in {None, ZEROS, *(receipt["hash"] for receipt in receipts)}:
        faults.append(f"no receipt has the hash {head}: the ledger was cut, or is another one")
    return faults


def _chain_faults(receipt: Receipt, number: int, previous: str) -> list[str]:
    faults = []
    if receipt["number"] != number:
        faults.append(f"has number {receipt['number']}: one is missing, or out of order")
    if receipt["previous_hash"] != previous:
        faults.append("does not follow from the one before it")
    return faults + hash_faults(receipt)


def hash_faults(receipt: Receipt) -> list[str]:
    """Return a sentence if the receipt's hash is not its own."""
    return [] if receipt["hash"] == _hash(receipt) else ["is not what its hash was taken of"]


def _hash(receipt: Receipt) -> str | None:
    """Return the receipt's hash; None if it has no encoding, as with half of a surrogate pair."""
    try:
        hashed = {name: receipt[name] for name in HASHED}
        return hash_of(key_id=receipt.get("key_id"), **hashed)
    except (ValueError, RecursionError):
        return None


def signature_faults(receipt: Receipt, keys: Keys) -> list[str]:
    """Return a sentence if the receipt is signed, and not by one of the keys."""
    key_id = receipt.get("key_id")
    if key_id is None:
        return []
    if key_id not in keys:
        return [f"is signed by a key that was not given: {key_id}"]
    good = holds(receipt["hash"], receipt["signature"], keys[key_id])
    return [] if good else ["has a signature that is not by its key"]
