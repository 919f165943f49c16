"""Ed25519 keys as files, made without the code that reads them."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def pem_of(key: Ed25519PrivateKey, password: bytes | None = None) -> bytes:
    """A private key in PEM."""
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        protection = serialization.BestAvailableEncryption(password)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )


def key_file(path: Path, seed: int = 1) -> Path:
    """A key file for its owner only; the same key for the same seed."""
    path.write_bytes(pem_of(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)))
    path.chmod(0o600)
    return path
