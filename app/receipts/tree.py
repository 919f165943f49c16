"""The Merkle tree over the ledger, stored as complete subtrees beside the chain.

    grow(session)                       in the transaction that appends a receipt
    root, inclusion, consistency        read as many rows as the tree has levels, twice at most
    is_sound(session)                   compares every stored node with the receipts

The entry of leaf number - 1 is a receipt's `hash`, as the 64 characters that it is shown with.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from app.database.tables import Receipt, ReceiptNode
from app.errors import Conflict, Invalid
from tangent_composer.receipts import merkle

log = logging.getLogger(__name__)


def leaf(hash_: str) -> bytes:
    """Return the leaf of the receipt with this hash."""
    return merkle.leaf(hash_.encode())


def size_of(session: Session) -> int:
    """Return the number of leaves."""
    last = session.scalar(select(func.max(ReceiptNode.index)).where(ReceiptNode.level == 0))
    return 0 if last is None else last + 1


def grow(session: Session) -> None:
    """Add the nodes that the receipts without a leaf complete; the caller holds the write lock."""
    size = size_of(session)
    whole = [(index << level, (index + 1) << level) for level, index in merkle.cover(0, size)]
    try:
        frontier = merkle.Frontier(size, _hashes(session, whole))
    except Conflict as error:
        log.error("the tree over the receipts does not grow: %s", error.detail)
        return  # a deletion does not wait for a repair
    fresh = select(Receipt.hash).where(Receipt.number > size).order_by(Receipt.number)
    for hash_ in session.scalars(fresh):
        for (level, index), digest in frontier.add(leaf(hash_)):
            session.merge(ReceiptNode(level=level, index=index, hash=digest.hex()))


def root(session: Session, size: int) -> bytes:
    """Return the root of the tree when it had this size."""
    (hash_,) = _hashes(session, [(0, size)])
    return hash_


def inclusion(session: Session, number: int, size: int | None) -> tuple[int, list[bytes]]:
    """Return the size, by default the present one, and the proof that it holds this receipt.

    Raises:
        Invalid: `bad_tree_size`.
    """
    present = size_of(session)
    size = present if size is None else size
    if not number <= size <= present:
        raise Invalid(
            "bad_tree_size",
            f"the tree of size {size} does not hold receipt {number}, or is not there yet: "
            f"give a size from {number} to {present}",
        )
    return size, _hashes(session, merkle.inclusion(number - 1, size))


def consistency(session: Session, first: int, second: int | None) -> tuple[int, list[bytes]]:
    """Return the second size, by default the present one, and the proof that it extends the first.

    Raises:
        Invalid: `bad_tree_size`.
    """
    present = size_of(session)
    second = present if second is None else second
    if not first <= second <= present:
        raise Invalid(
            "bad_tree_size",
            f"no proof leads from size {first} to size {second}: the second is at least the first, "
            f"and at most {present}",
        )
    return second, _hashes(session, merkle.consistency(first, second))


def _hashes(session: Session, ranges: Sequence[merkle.Range]) -> list[bytes]:
    """Return the hashes over these ranges.

    Raises:
        Conflict: `receipt_tree_damaged`.
    """
    wanted = {node for range_ in ranges for node in merkle.cover(*range_)}
    place = tuple_(ReceiptNode.level, ReceiptNode.index)
    rows = session.scalars(select(ReceiptNode).where(place.in_(wanted))) if wanted else ()
    try:
        stored = {(row.level, row.index): bytes.fromhex(row.hash) for row in rows}
        return [merkle.hash_of_range(stored, *range_) for range_ in ranges]
    except (KeyError, ValueError):
        raise Conflict(
            "receipt_tree_damaged",
            "the stored tree over the receipts lacks a node: restore it from a backup; "
            "`tangent doctor` tells whether all is well again",
        ) from None


def is_sound(session: Session) -> bool:
    """Return whether the stored nodes are exactly those of the receipts' hashes."""
    frontier = merkle.Frontier()
    streamed = select(Receipt.hash).order_by(Receipt.number).execution_options(yield_per=500)
    nodes = (
        (level, index, digest.hex())
        for hash_ in session.scalars(streamed)
        for (level, index), digest in frontier.add(leaf(hash_))
    )
    stored = session.execute(
        select(ReceiptNode.level, ReceiptNode.index, ReceiptNode.hash)
        .order_by(ReceiptNode.level, ReceiptNode.index)
        .execution_options(yield_per=500)
    )
    return _by_level(nodes) == _by_level((level, index, hash_) for level, index, hash_ in stored)


def _by_level(nodes: Iterable[tuple[int, int, str]]) -> dict[int, str]:
    """Return one hash over the nodes of each level: few numbers, however large the tree."""
    levels: defaultdict[int, hashlib._Hash] = defaultdict(hashlib.sha256)
    for level, index, hash_ in nodes:
        levels[level].update(f"{index} {hash_}\n".encode())
    return {level: digest.hexdigest() for level, digest in levels.items()}
