"""Hashes of receipts over their canonical JSON, and optional Ed25519 signatures of the hashes.

    hash      = sha256(canonical JSON of {number, id, created_at, body, previous_hash})
    signature = Ed25519 over the text "tangent-composer receipt <hash>"

A signed receipt has `key_id` among what is hashed, so nobody can remove the signature unnoticed.
This module needs the receipt and the public key only: no database and no service.
"""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.database.canonical_json import canonical
from app.settings import BadSettings, Settings

ZEROS = "0" * 64  # the first receipt's `previous_hash`
SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)  # the only spelling of a signature
MAX_KEY_BYTES = 2**16


class BadKey(Exception):
    """A key that cannot be used; the message says why and what to do, without its content."""


@dataclass(frozen=True)
class Signer:
    """The service's private key, and the public key with its fingerprint."""

    key: Ed25519PrivateKey
    public_key: str  # PEM
    key_id: str

    def sign(self, hash_: str) -> str:
        """Return the signature of a receipt with this hash, in hex."""
        return self.key.sign(_message(hash_)).hex()

    def sign_text(self, text: bytes) -> bytes:
        """Return the signature of a text that no receipt's could be: it names its own kind."""
        return self.key.sign(text)

    def raw_key(self) -> bytes:
        """Return the public key's 32 bytes."""
        return raw(self.key.public_key())


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
    return signed(_message(hash_), bytes.fromhex(signature), public)


def signed(text: bytes, signature: bytes, public: Ed25519PublicKey) -> bool:
    """Return whether this key signed this text."""
    try:
        public.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _message(hash_: str) -> bytes:
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
        raise BadKey(f"it is {_kind(key)}, not an Ed25519 key: take it from GET /v1/receipts/key")
    return key


def signer(path: Path) -> Signer:
    """Return the signer with the private key in this PEM file.

    Raises:
        BadKey: if the file is unreadable, open to every user, or no Ed25519 key without a password.
    """
    try:
        key = serialization.load_pem_private_key(_private(path), password=None)
    except TypeError:
        raise BadKey("it has a password: store the key without one, and guard the file") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(f"it is no private key in PEM: {_MAKE_ONE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"it is {_kind(key)}, not an Ed25519 key: {_MAKE_ONE}")
    public = key.public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Signer(key, pem.decode(), key_id_of(public))


def signer_of(settings: Settings) -> Signer | None:
    """Return the signer with the key of the settings; None if they name none.

    Raises:
        BadSettings: the key cannot be used.
    """
    path = settings.receipt_key_file
    try:
        return None if path is None else signer(path)
    except BadKey as error:
        raise BadSettings(f"TANGENT_RECEIPT_KEY_FILE is {str(path)!r}: {error}") from None


_MAKE_ONE = "make one with `openssl genpkey -algorithm ed25519`"


def _private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Of the open file: the path may lead elsewhere by now.
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise BadKey(f"every user of the machine has access to it: chmod o= {path}")
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise BadKey(f"it cannot be read: {error.strerror}") from None


def _kind(key: object) -> str:
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").lstrip("_")
    return f"a key of kind {name}"
