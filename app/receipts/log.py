"""The ledger as a transparency log: its signed checkpoint and its proofs, as the API shows them."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.parts import Signer
from app.receipts import checkpoint, ledger, tree
from app.store.tables import DatabaseIdentity


def signed_checkpoint(session: Session, signer: Signer | None) -> str:
    """Return the present size and root as a signed note.

    Raises:
        NotFound: `receipts_not_signed`.
        Conflict: `receipt_tree_damaged`.
    """
    if signer is None:
        raise NotFound(
            "receipts_not_signed",
            "this service signs no checkpoints: start it with TANGENT_RECEIPT_KEY_FILE to do so; "
            "GET /v1/receipts/head shows the hash of the last receipt",
        )
    size = tree.size_of(session)
    return checkpoint.written(origin(session), size, tree.root(session, size), signer)


def origin(session: Session) -> str:
    """Return the log's name: it goes with the database, wherever that is moved."""
    return f"tangent-composer/{session.scalars(select(DatabaseIdentity.id)).one()}"


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
