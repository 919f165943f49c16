"""The service's private key, which signs receipts, checkpoints and component files.

`tangent_composer.receipts.signatures` has what is signed, and checks it.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.settings import BadSettings, Settings
from tangent_composer.receipts.signatures import BadKey, key_id_of, kind_of, message, raw

MAX_KEY_BYTES = 2**16


@dataclass(frozen=True)
class Signer:
    """The service's private key, and the public key with its fingerprint."""

    key: Ed25519PrivateKey
    public_key: str  # PEM
    key_id: str

    def sign(self, hash_: str) -> str:
        """Return the signature of a receipt with this hash, in hex."""
        return self.key.sign(message(hash_)).hex()

    def sign_text(self, text: bytes) -> bytes:
        """Return the signature of a text that no receipt's could be: it names its own kind."""
        return self.key.sign(text)

    def raw_key(self) -> bytes:
        """Return the public key's 32 bytes."""
        return raw(self.key.public_key())


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
        raise BadKey(f"it is {kind_of(key)}, not an Ed25519 key: {_MAKE_ONE}")
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
