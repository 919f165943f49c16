"""Hashes of receipts over their canonical JSON, and the Ed25519 signatures of texts and hashes.

    hash      = sha256(canonical JSON of {number, id, created_at, body, previous_hash})
    signature = Ed25519 over the text "tangent-composer receipt <hash>"

A signed receipt has `key_id` among what is hashed, so nobody can remove the signature unnoticed.
This module needs the receipt and the public key only: no database and no service.
"""

import hashlib
import re
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tangent_composer.canonical_json import canonical

ZEROS = "0" * 64  # the first receipt's `previous_hash`
SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)  # the only spelling of a signature


class BadKey(Exception):
    """A key that cannot be used; the message says why and what to do, without its content."""


def hash_of(
    *,
    number: int,
    id: str,
    created_at: str,
    body: Any,
    previous_hash: str,
    key_id: str | None,
) -> str:
    """Return the `hash` of a receipt; `created_at` is the text that the API shows."""
    hashed = {
        "number": number,
        "id": id,
        "created_at": created_at,
        "body": body,
        "previous_hash": previous_hash,
    }
    if key_id is not None:
        hashed["key_id"] = key_id
    return hashlib.sha256(canonical(hashed)).hexdigest()


def holds(hash_: str, signature: str | None, public: Ed25519PublicKey) -> bool:
    """Return whether this key signed a receipt with this hash."""
    if signature is None or not SIGNATURE.fullmatch(signature):
        return False
    return signed(message(hash_), bytes.fromhex(signature), public)


def signed(text: bytes, signature: bytes, public: Ed25519PublicKey) -> bool:
    """Return whether this key signed this text."""
    try:
        public.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def message(hash_: str) -> bytes:
    """Return the text that is signed for a receipt with this hash."""
    # The words keep a signature of this key from meaning something elsewhere.
    return f"tangent-composer receipt {hash_}".encode()


def key_id_of(public: Ed25519PublicKey) -> str:
    """Return the key's fingerprint: SHA-256 of its DER form, as openssl writes it."""
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def raw(public: Ed25519PublicKey) -> bytes:
    """Return the key's 32 bytes."""
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def public_key(pem: str) -> Ed25519PublicKey:
    """Return the Ed25519 public key in this PEM text.

    Raises:
        BadKey: if the text holds none.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("it is no public key in PEM: take it from GET /v1/receipts/key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadKey(f"it is {kind_of(key)}, not an Ed25519 key: take it from GET /v1/receipts/key")
    return key


def kind_of(key: object) -> str:
    """Return the kind of a key that is not the expected one, for a sentence."""
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").lstrip("_")
    return f"a key of kind {name}"
