"""Offline checks of checkpoints and proofs, each in as many steps as the tree has levels.

check_inclusion(receipt, proof, checkpoint, keys)    one receipt is in the log
check_consistency(old, proof, new)                   the log has only grown
check_tree(receipts, checkpoint)                     all receipts make the checkpoint's root
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tangent_composer.receipts import merkle
from tangent_composer.receipts.checkpoint import Checkpoint
from tangent_composer.receipts.offline import (
    BadLedger,
    Keys,
    Receipt,
    hash_faults,
    parsed,
    signature_faults,
)

HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
MAX_HASHES = 128  # twice as many as the deepest tree's proofs have


@dataclass(frozen=True)
class Inclusion:
    """A proof of GET /v1/receipts/{id}/inclusion."""

    receipt_id: str
    leaf_index: int
    tree_size: int
    hashes: list[bytes]


@dataclass(frozen=True)
class Consistency:
    """A proof of GET /v1/receipts/consistency."""

    first: int
    second: int
    hashes: list[bytes]


def read_inclusion(name: str, text: str) -> Inclusion:
    """Return the inclusion proof in the text.

    Raises:
        BadLedger: for any other text.
    """
    members = _members(name, text, {"receipt_id": str, "leaf_index": int, "tree_size": int})
    return Inclusion(**members)


def read_consistency(name: str, text: str) -> Consistency:
    """Return the consistency proof in the text.

    Raises:
        BadLedger: for any other text.
    """
    return Consistency(**_members(name, text, {"first": int, "second": int}))


def _members(name: str, text: str, kinds: dict[str, type]) -> dict[str, Any]:
    try:
        value = parsed(text)
    except (ValueError, RecursionError) as error:
        raise BadLedger(f"{name} is no JSON: {error}") from None
    whole = isinstance(value, dict) and set(value) == {*kinds, "hashes"}
    if whole and all(type(value[key]) is kind for key, kind in kinds.items()):
        hashes = value["hashes"]
        if isinstance(hashes, list) and len(hashes) <= MAX_HASHES and all(map(_is_hash, hashes)):
            return value | {"hashes": [bytes.fromhex(hash_) for hash_ in hashes]}
    raise BadLedger(f"{name} is no such proof: give what GET /v1/receipts/… answers, whole")


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and HASH.fullmatch(value) is not None


def check_inclusion(
    receipt: Receipt, proof: Inclusion, checkpoint: Checkpoint, keys: Keys
) -> list[str]:
    """Return the faults of one receipt and its proof, as sentences."""
    faults = hash_faults(receipt) + signature_faults(receipt, keys)
    if proof.receipt_id != receipt["id"] or proof.leaf_index != receipt["number"] - 1:
        faults.append("is not the receipt of the proof")
    if proof.tree_size != checkpoint.size:
        faults.append(
            f"has a proof for size {proof.tree_size}, not for the checkpoint's: "
            f"ask for ?size={checkpoint.size}"
        )
    leaf = merkle.leaf(receipt["hash"].encode(errors="replace"))
    root = merkle.root_by_inclusion(leaf, proof.leaf_index, proof.tree_size, proof.hashes)
    if root != checkpoint.root:
        faults.append("is not in the tree of the checkpoint")
    return [f"receipt {receipt['number']} ({receipt['id']}) {fault}" for fault in faults]


def check_consistency(old: Checkpoint, proof: Consistency, new: Checkpoint) -> list[str]:
    """Return the faults of a proof that the newer tree begins with the older, as sentences."""
    faults = []
    if old.origin != new.origin:
        faults.append(f"the checkpoints are of two logs: {old.origin} and {new.origin}")
    if (proof.first, proof.second) != (old.size, new.size):
        faults.append(
            f"the proof leads from {proof.first} to {proof.second}: "
            f"ask for ?first={old.size}&second={new.size}"
        )
    if not merkle.is_consistent(proof.first, old.root, proof.second, new.root, proof.hashes):
        faults.append("the new checkpoint does not continue the old one")
    return faults


def check_tree(receipts: Sequence[Receipt], checkpoint: Checkpoint) -> list[str]:
    """Return whether the first receipts are the checkpoint's tree, as a sentence if not."""
    frontier = merkle.Frontier()
    for receipt in receipts[: checkpoint.size]:
        frontier.add(merkle.leaf(receipt["hash"].encode(errors="replace")))
    if frontier.size < checkpoint.size:
        return [f"the checkpoint is over {checkpoint.size} receipts, and {frontier.size} are given"]
    if frontier.root() != checkpoint.root:
        return ["the receipts are not those of the checkpoint"]
    return []
