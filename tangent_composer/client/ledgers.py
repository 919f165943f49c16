"""A ledger's receipts, its keys and a signed checkpoint, checked without trusting the service.

The keys are those that the service gave unless others are passed: to prove anything against the
service itself, note a key or a checkpoint earlier, elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tangent_composer.client.errors import BadInput
from tangent_composer.receipts import checkpoint, offline, offline_proofs
from tangent_composer.receipts.signatures import BadKey, Ed25519PublicKey, key_id_of, public_key
from tangent_composer.schemas.receipts import InclusionOut, ReceiptOut


@dataclass(frozen=True)
class Verified:
    """The outcome of a check on this machine: `faults` is empty if all is as it was written."""

    receipts: Sequence[ReceiptOut]
    faults: Sequence[str]
    signed: int  # receipts with a signature by a given key
    origin: str | None = None  # of the checkpoint, if there was one

    @property
    def ok(self) -> bool:
        """True if no fault was found."""
        return not self.faults


def keys_of(pems: Sequence[str]) -> dict[str, Ed25519PublicKey]:
    """Return the public keys in these PEM texts, by their ids.

    Raises:
        BadInput: one is none.
    """
    try:
        keys = [public_key(pem) for pem in pems]
    except BadKey as error:
        raise BadInput("bad_key", f"a given public key: {error}", "give its PEM text") from None
    return {key_id_of(key): key for key in keys}


def check_ledger(
    receipts: Sequence[ReceiptOut],
    keys: Mapping[str, Ed25519PublicKey],
    note: str | None,
    head: str | None,
) -> Verified:
    """Check a whole ledger: hashes, chain, signatures, and the tree of a signed checkpoint."""
    texts = [shown(receipt) for receipt in receipts]
    faults = offline.check(texts, keys, head=head)
    signed = sum("key_id" in text for text in texts) if keys else 0
    if note is None:
        return Verified(receipts, faults, signed)
    try:
        read = checkpoint.read(note, keys.values())
    except checkpoint.BadCheckpoint as error:
        return Verified(receipts, [*faults, f"the checkpoint is none to trust: {error}"], signed)
    faults = [*faults, *offline_proofs.check_tree(texts, read)]
    return Verified(receipts, faults, signed, read.origin)


def check_receipt(
    receipt: ReceiptOut,
    proof: InclusionOut,
    keys: Mapping[str, Ed25519PublicKey],
    note: str,
) -> Verified:
    """Check one receipt: its hash, its signature, and its place below a signed checkpoint."""
    try:
        read = checkpoint.read(note, keys.values())
    except checkpoint.BadCheckpoint as error:
        return Verified([receipt], [f"the checkpoint is none to trust: {error}"], 0)
    inclusion = offline_proofs.read_inclusion("the proof", proof.model_dump_json())
    text = shown(receipt)
    faults = offline_proofs.check_inclusion(text, inclusion, read, keys)
    return Verified([receipt], faults, int("key_id" in text), read.origin)


def shown(receipt: ReceiptOut) -> offline.Receipt:
    """Return the receipt's members as the service showed them."""
    text = receipt.model_dump_json()
    return offline.read([(receipt.id, text)])[0]
