"""A receipt in one file with all that verifies it, as the page at `/` saves it.

    saved = read(name, text)                      None for a file of another kind
    keys = keys_of(saved, fingerprints)           those of the file's keys that were noted elsewhere
    faults = check(saved, keys)                   [] if the receipt is as it was written

The file has public keys too, but whoever can change the file can change them: a key counts only if
its fingerprint, the SHA-256 of the key in DER, is one that the reader has from elsewhere.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from tangent_composer.receipts import checkpoint, offline
from tangent_composer.receipts.checkpoint import BadCheckpoint
from tangent_composer.receipts.offline import BadLedger, Keys, Receipt
from tangent_composer.receipts.offline_proofs import Inclusion, check_inclusion, read_inclusion
from tangent_composer.receipts.signatures import BadKey, Ed25519PublicKey, key_id_of, public_key

FORMAT = "tangent-composer/saved-receipt/1"
MEMBERS = frozenset(["format", "receipt", "inclusion", "checkpoint", "public_keys"])


@dataclass(frozen=True)
class Saved:
    """A receipt, its proof, the signed note that the proof is for, and keys in PEM."""

    name: str
    receipt: Receipt
    inclusion: Inclusion
    checkpoint: str
    public_keys: list[str]


def read(name: str, text: str) -> Saved | None:
    """Return what the file has; None if it is no file of this kind.

    Raises:
        BadLedger: for a file of this kind that is not whole.
    """
    try:
        value = offline.parsed(text)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(value, dict) and "format" in value):
        return None
    keys = value.get("public_keys")
    if value["format"] != FORMAT or set(value) != MEMBERS or not isinstance(keys, list):
        raise BadLedger(f"{name} is no whole file in the format {FORMAT}")
    if not isinstance(value["checkpoint"], str):
        raise BadLedger(f"{name} has no checkpoint: the service that it is of signs no receipts")
    (receipt,) = offline.read([(name, json.dumps(value["receipt"]))])
    inclusion = read_inclusion(name, json.dumps(value["inclusion"]))
    return Saved(name, receipt, inclusion, value["checkpoint"], [*map(str, keys)])


def keys_of(saved: Saved, fingerprints: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    """Return the file's keys that have one of these fingerprints, by fingerprint."""
    noted, found = {"".join(each.split()).lower() for each in fingerprints}, {}
    for pem in saved.public_keys:
        try:
            key = public_key(pem)
        except BadKey as error:
            raise BadLedger(f"a key of {saved.name} cannot be used: {error}") from None
        if key_id_of(key) in noted:
            found[key_id_of(key)] = key
    return found


def check(saved: Saved, keys: Keys) -> list[str]:
    """Return the faults of the receipt, its proof and its checkpoint, as sentences."""
    try:
        note = checkpoint.read(saved.checkpoint, keys.values())
    except BadCheckpoint as error:
        return [f"the checkpoint in {saved.name} cannot be trusted: {error}"]
    return check_inclusion(saved.receipt, saved.inclusion, note, keys)
