"""Signatures of component files: a DSSE envelope around an in-toto statement, by the receipt key.

    envelope = written(name, sha256, signer)
    name, sha256 = read(text, keys)               its signature checked

The statement is that of OpenSSF Model Signing 1.0 for a model of one file: the subject's digest is
the SHA-256 over the digests of its files, which `resources` lists. This module needs the text and
the public keys only.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from tangent_composer.canonical_json import canonical
from tangent_composer.receipts.checkpoint import NoteSigner
from tangent_composer.receipts.signatures import Ed25519PublicKey, signed

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [],
}


class BadEnvelope(Exception):
    """A text that is no signature of a component, or not by a key that was given."""


def statement(name: str, sha256: str) -> dict[str, Any]:
    """Return the statement about a file of this name and hash."""
    whole = hashlib.sha256(bytes.fromhex(sha256)).hexdigest()
    resource = {"name": f"{name}.safetensors", "algorithm": "sha256", "digest": sha256}
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": PREDICATE,
        "predicate": {"serialization": SERIALIZATION, "resources": [resource]},
    }


def written(name: str, sha256: str, key_id: str, signer: NoteSigner) -> dict[str, Any]:
    """Return the envelope."""
    payload = canonical(statement(name, sha256))
    signature = b64encode(signer.sign_text(_encoded(payload))).decode()
    return {
        "payloadType": PAYLOAD,
        "payload": b64encode(payload).decode(),
        "signatures": [{"keyid": key_id, "sig": signature}],
    }


def read(text: str, keys: Mapping[str, Ed25519PublicKey]) -> tuple[str, str]:
    """Return name and SHA-256 of the file that one of these keys, by key_id, signed.

    Raises:
        BadEnvelope: otherwise; the message says why.
    """
    try:
        envelope = json.loads(text)
        payload = _bytes(envelope["payload"])
        made = {each["keyid"]: _bytes(each["sig"]) for each in envelope["signatures"]}
        found = json.loads(payload)
        resource = found["predicate"]["resources"][0]
        name, sha256 = found["subject"][0]["name"], resource["digest"]
        sound = canonical(statement(name, sha256)) == payload and envelope["payloadType"] == PAYLOAD
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise BadEnvelope(
            "it is no signature as GET /v1/components/{id}/signature answers"
        ) from None
    if not sound:
        raise BadEnvelope("its statement is not one about a component's file")
    known = made.keys() & keys.keys()
    if not known:
        raise BadEnvelope("none of the given keys has signed it")
    if not all(signed(_encoded(payload), made[key], keys[key]) for key in known):
        raise BadEnvelope("its signature is not by the key that it names")
    return name, sha256


def _bytes(text: str) -> bytes:
    decoded = b64decode(text, validate=True)
    if b64encode(decoded).decode() != text:
        raise ValueError("it has another spelling")
    return decoded


def _encoded(payload: bytes) -> bytes:
    """Return the bytes that DSSE signs."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
