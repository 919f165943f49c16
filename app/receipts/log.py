"""The ledger as a transparency log: its signed checkpoint and its proofs, as the API shows them."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Receipt
from app.errors import Conflict, NotFound
from app.parts import Signer
from app.receipts import ledger, tree
from tangent_composer.receipts import checkpoint


def signed_checkpoint(session: Session, signer: Signer | None) -> str:
    """Return the present size and root as a signed note.

    Raises:
        NotFound: `receipts_not_signed`.
        Conflict: `no_receipts`, `receipt_tree_damaged`.
    """
    if signer is None:
        raise NotFound(
            "receipts_not_signed",
            "this service signs no checkpoints: start it with TANGENT_RECEIPT_KEY_FILE to do so; "
            "GET /v1/receipts/head shows the hash of the last receipt",
        )
    first = session.scalar(select(Receipt.id).where(Receipt.number == 1))
    size = tree.size_of(session)
    if first is None or size == 0:
        raise Conflict("no_receipts", "a checkpoint is over receipts: the first deletion makes one")
    return checkpoint.written(origin(first), size, tree.root(session, size), signer)


def origin(first: str) -> str:
    """Return the name of the log with this first receipt, however its database is moved."""
    return f"tangent-composer/{first}"


def inclusion(session: Session, receipt_id: str, size: int | None) -> dict[str, Any]:
    """Return the fields of an InclusionOut.

    Raises:
        NotFound: `receipt_not_found`.
        Invalid: `bad_tree_size`.
        Conflict: `receipt_tree_damaged`.
    """
    number = ledger.get(session, receipt_id).number
    size, hashes = tree.inclusion(session, number, size)
    return {
        "receipt_id": receipt_id,
        "leaf_index": number - 1,
        "tree_size": size,
        "hashes": [hash_.hex() for hash_ in hashes],
    }


def consistency(session: Session, first: int, second: int | None) -> dict[str, Any]:
    """Return the fields of a ConsistencyOut.

    Raises:
        Invalid: `bad_tree_size`.
        Conflict: `receipt_tree_damaged`.
    """
    second, hashes = tree.consistency(session, first, second)
    return {"first": first, "second": second, "hashes": [hash_.hex() for hash_ in hashes]}
