"""Ledgers written without the project's code."""

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tangent_composer.receipts import signatures
from tests.support.rfc6962 import Entries, audit_path, subproof, tree_hash

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ORIGIN = "tangent-composer/rcpt_1"
KEYS = {signatures.key_id_of(key.public_key()): key.public_key() for key in (PRIVATE,)}
BODY = {"version": 2, "subjects": [{"kind": "component", "id": "cmp_1"}], "labels": ["ä", 3, None]}


def ledger(*keys: Ed25519PrivateKey | None, body: Any = BODY) -> list[dict[str, Any]]:
    """Receipts written without the project's code, each signed by its key if it has one."""
    receipts: list[dict[str, Any]] = []
    for number, key in enumerate(keys, 1):
        receipt = {
            "number": number,
            "id": f"rcpt_{number}",
            "created_at": f"2025-01-31T09:30:0{number % 10}.123456Z",
            "body": body,
            "previous_hash": receipts[-1]["hash"] if receipts else "0" * 64,
        }
        if key is not None:
            receipt["key_id"] = signatures.key_id_of(key.public_key())
        text = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        receipt["hash"] = hashlib.sha256(text.encode()).hexdigest()
        if key is not None:
            message = f"tangent-composer receipt {receipt['hash']}"
            receipt["signature"] = key.sign(message.encode()).hex()
        receipts.append(receipt)
    return receipts


def note(
    entries: Entries,
    size: int,
    key: Ed25519PrivateKey = PRIVATE,
    origin: str = ORIGIN,
    more: str = "",
) -> str:
    """A checkpoint over the first entries, written without the project's code."""
    root = base64.b64encode(tree_hash(entries[:size])).decode()
    body = f"{origin}\n{size}\n{root}\n{more}"
    public = key.public_key().public_bytes_raw()
    named = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    signature = base64.b64encode(named + key.sign(body.encode())).decode()
    return f"{body}\n— {origin} {signature}\n"


def inclusion(entries: Entries, index: int, size: int | None = None) -> dict[str, Any]:
    """The proof that a tree of this size, by default of all entries, has the entry."""
    size = len(entries) if size is None else size
    hashes = [hash_.hex() for hash_ in audit_path(index, entries[:size])]
    members = {"receipt_id": f"rcpt_{index + 1}", "leaf_index": index, "tree_size": size}
    return members | {"hashes": hashes}


def growth(entries: Entries, first: int, second: int | None = None) -> dict[str, Any]:
    """The proof that the tree of the second size begins with that of the first."""
    second = len(entries) if second is None else second
    hashes = [hash_.hex() for hash_ in subproof(first, entries[:second], True)]
    return {"first": first, "second": second, "hashes": hashes}


def lines(receipts: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(each, ensure_ascii=False) for each in receipts)
