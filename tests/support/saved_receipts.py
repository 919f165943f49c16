"""Receipts saved with all that verifies them, and the page's verification of them by node."""

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support import ledgers
from tests.support.ledgers import PRIVATE, ledger
from tests.support.page_process import Node

CALL = """async ({ saved, more, seen }, load) => {
  const { consistencyOf, readSaved } = await load("receipts/proofs.js");
  const { parsed } = await load("receipts/canonical.js");
  const { verify } = await load("receipts/verification.js");
  const material = readSaved(saved);
  for (const [name, text] of Object.entries(more ?? {})) material[name] = parsed(text);
  const { steps, verdict, key } = await verify(material, seen ?? null);
  const byName = Object.fromEntries(steps.map((step) => [step.name, step]));
  return { verdict, key: key?.id, steps: byName };
}"""
SIZE, NUMBER = 11, 5
BODY = {
    "version": 3,
    "subject": {"kind": "image", "id": "img_1"},
    "n": 1e22,
    "big": 2**70,
    "ä": "\U0001f600",
}
RECEIPTS = ledger(None, *[PRIVATE] * (SIZE - 1), body=BODY)
ENTRIES = tuple(receipt["hash"].encode() for receipt in RECEIPTS)


def pem(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


SAVED: dict[str, Any] = {
    "format": "tangent-composer/saved-receipt/1",
    "receipt": RECEIPTS[NUMBER - 1],
    "inclusion": ledgers.inclusion(ENTRIES, NUMBER - 1),
    "checkpoint": ledgers.note(ENTRIES, SIZE),
    "public_keys": [pem(PRIVATE)],
}


class Verified(Node):
    """The page's verification of a saved file, and of what came besides."""

    def __init__(self, spoilt: str = "") -> None:
        """Begin; `spoilt` is a program that runs before each verification."""
        super().__init__(CALL.replace("=> {", f"=> {{ {spoilt}", 1))

    def of(self, saved: Any, *, seen: Any = None, **more: Any) -> Any:
        texts = {name: json.dumps(value) for name, value in more.items()}
        text = saved if isinstance(saved, str) else json.dumps(saved, ensure_ascii=False)
        return self({"saved": text, "more": texts, "seen": seen})


def failed(found: Any) -> list[str]:
    """Return the sentences of the checks that failed."""
    return [step["says"] for step in found["steps"].values() if step["state"] == "failed"]
