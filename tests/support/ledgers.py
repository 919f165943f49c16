"""Ledgers written without the project's code."""

import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.receipts import signing

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYS = {signing.key_id_of(key.public_key()): key.public_key() for key in (PRIVATE,)}
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
            receipt["key_id"] = signing.key_id_of(key.public_key())
        text = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        receipt["hash"] = hashlib.sha256(text.encode()).hexdigest()
        if key is not None:
            message = f"tangent-composer receipt {receipt['hash']}"
            receipt["signature"] = key.sign(message.encode()).hex()
        receipts.append(receipt)
    return receipts


def lines(receipts: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(each, ensure_ascii=False) for each in receipts)
