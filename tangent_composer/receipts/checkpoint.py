"""Checkpoints: size and root of the ledger's tree as a signed note, in the formats of C2SP.

    text = written(origin, size, root, signer)        tlog-checkpoint
    checkpoint = read(text, keys)                     its signature checked

The note's text is origin, size in decimal and root in base64, a line each. After an empty line
follow signatures, "— <origin> <base64>"; the base64 is of four bytes that name the key, and the
Ed25519 signature of the note's text. Signatures by unknown keys are passed over, as witnesses may
add theirs. This module needs the text and the public keys only.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tangent_composer.receipts.signatures import Ed25519PublicKey, raw, signed

ED25519 = b"\x01"  # the signature's kind
MAX_LENGTH = 2**20
SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class BadCheckpoint(Exception):
    """A text that is no checkpoint, or is not signed by a key that was given."""


class NoteSigner(Protocol):
    """The signer of checkpoints, which a service has."""

    def sign_text(self, text: bytes) -> bytes: ...
    def raw_key(self) -> bytes: ...


@dataclass(frozen=True)
class Checkpoint:
    """A tree's size and root, and the name of its log."""

    origin: str
    size: int
    root: bytes


def key_hash(name: str, key: bytes) -> bytes:
    """Return the four bytes that name this key in signatures of notes."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + key).digest()[:4]


def written(origin: str, size: int, root: bytes, signer: NoteSigner) -> str:
    """Return the signed note."""
    text = f"{origin}\n{size}\n{b64encode(root).decode()}\n"
    signature = key_hash(origin, signer.raw_key()) + signer.sign_text(text.encode())
    return f"{text}\n— {origin} {b64encode(signature).decode()}\n"


def read(note: str, keys: Iterable[Ed25519PublicKey]) -> Checkpoint:
    """Return the checkpoint, if at least one of these keys signed it and none has failed.

    Raises:
        BadCheckpoint: otherwise; the message says why.
    """
    if len(note) > MAX_LENGTH:
        raise BadCheckpoint(f"it has more than {MAX_LENGTH} characters")
    if CONTROL.search(note):
        raise BadCheckpoint("it has control characters: save the bytes as the service sent them")
    body, gap, signatures = note.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise BadCheckpoint("it has no empty line and signature after it")
    checkpoint = _parsed(body)
    known = {key_hash(checkpoint.origin, raw(key)): key for key in keys}
    verified = False
    for line in signatures[:-1].split("\n"):
        name, hash_, signature = _signature(line)
        key = known.get(hash_) if name == checkpoint.origin else None
        if key is None:
            continue
        if not signed(f"{body}\n".encode(), signature, key):
            raise BadCheckpoint("its signature is not by the key that it names")
        verified = True
    if not verified:
        raise BadCheckpoint("none of the given keys has signed it")
    return checkpoint


def _parsed(body: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) < 3 or "" in lines:
        raise BadCheckpoint("its text is not an origin, a size and a root, a line each")
    origin, size, root = lines[:3]
    digest = _bytes(root)
    if not SIZE.fullmatch(size) or digest is None or len(digest) != 32:
        raise BadCheckpoint("its second line is no decimal size, or its third no root in base64")
    return Checkpoint(origin, int(size), digest)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    """Return name, key hash and signature of a line."""
    match = SIGNATURE.fullmatch(line)
    made = _bytes(match[2]) if match else None
    if match is None or made is None or len(made) < 5:
        raise BadCheckpoint("a line after its text is no signature of a note")
    return match[1], made[:4], made[4:]


def _bytes(text: str) -> bytes | None:
    """Return the bytes of a base64 text, if that is their only spelling."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        return None
    return decoded if b64encode(decoded).decode() == text else None
