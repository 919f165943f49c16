"""The ledger: an append-only list of receipts, in which every receipt has the hash of the last one.

Numbers are 1, 2, 3 … without gaps, and the first `previous_hash` is 64 zeros; app.receipts.signing
has the hash and the signature. Whoever noted the head's hash can detect later that a receipt up to
it was changed, dropped or inserted.
"""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.keyset import last_seen
from app.database.row_checksums import KEPT, was_kept
from app.database.tables import Receipt, ReceiptKey, now
from app.errors import NotFound
from app.parts import Signer
from app.receipts import tree
from tangent_composer.receipts import signatures
from tangent_composer.receipts.signatures import ZEROS


def hash_of(receipt: Receipt) -> str:
    """Return the `hash` that the receipt must have."""
    return signatures.hash_of(
        number=receipt.number,
        id=receipt.id,
        created_at=receipt.stamp,
        body=receipt.body,
        previous_hash=receipt.previous_hash,
        key_id=receipt.key_id,
    )


def append(
    session: Session, *, receipt_id: str, body: dict[str, Any], signer: Signer | None = None
) -> Receipt:
    """Append a receipt, signed if there is a signer; the caller holds the write lock."""
    last = head(session)
    receipt = Receipt(
        number=last.number + 1 if last else 1,
        id=receipt_id,
        body=body,
        previous_hash=last.hash if last else ZEROS,
        key_id=signer.key_id if signer else None,
        created_at=now(),
    )
    receipt.hash = hash_of(receipt)
    if signer is not None:
        receipt.signature = signer.sign(receipt.hash)
        if session.get(ReceiptKey, signer.key_id) is None:
            session.add(ReceiptKey(id=signer.key_id, public_key=signer.public_key))
    session.add(receipt)
    session.flush()
    tree.grow(session)
    session.flush()
    return receipt


def head(session: Session) -> Receipt | None:
    """Return the last receipt; None before the first deletion."""
    return session.scalar(select(Receipt).order_by(Receipt.number.desc()).limit(1))


def get(session: Session, receipt_id: str, *, damaged_too: bool = False) -> Receipt:
    """Return the receipt with this id; a damaged one only to be verified.

    Raises:
        NotFound: `receipt_not_found`.
        DamagedRow: unless `damaged_too`.
    """
    query = select(Receipt).where(Receipt.id == receipt_id)
    receipt = session.scalar(query.execution_options(**KEPT) if damaged_too else query)
    if receipt is None:
        raise NotFound(
            "receipt_not_found", f"no receipt {receipt_id!r}: GET /v1/receipts lists all there are"
        )
    return receipt


def list_(session: Session, *, after: str | None, limit: int) -> list[Receipt]:
    """Return receipts in the order of their numbers, only those after the receipt `after`.

    Raises:
        Invalid: `bad_cursor`.
    """
    query = select(Receipt).order_by(Receipt.number).limit(limit)
    if after is not None:
        query = query.where(Receipt.number > last_seen(session, Receipt.number, after))
    return list(session.scalars(query.execution_options(**KEPT)))


def public_key(session: Session, key_id: str | None, signer: Signer | None) -> tuple[str, str]:
    """Return the id and text of the public key with this id; without an id, of the signer's.

    Raises:
        NotFound: `receipt_key_not_found`; `receipts_not_signed` where there is no signer.
    """
    if signer is not None and key_id in (None, signer.key_id):
        return signer.key_id, signer.public_key
    if key_id is None:
        raise NotFound(
            "receipts_not_signed",
            "this service signs no receipts: start it with TANGENT_RECEIPT_KEY_FILE to do so; "
            "?key_id= shows the key that an earlier receipt names",
        )
    row = session.get(ReceiptKey, key_id)
    if row is None:
        raise NotFound(
            "receipt_key_not_found",
            f"no receipt was signed by a key {key_id!r}: a receipt's key_id names the one it was",
        )
    return row.id, row.public_key


def signature_ok(session: Session, receipt: Receipt) -> bool | None:
    """Return whether the named key made the receipt's signature; None if it names no key.

    The answer is False as well if that key is no longer stored or was replaced.
    """
    if receipt.key_id is None:
        return None if receipt.signature is None else False
    kept = session.get(ReceiptKey, receipt.key_id)
    if kept is None:
        return False
    try:
        public = signatures.public_key(kept.public_key)
    except signatures.BadKey:
        return False
    named = signatures.key_id_of(public) == receipt.key_id
    return named and signatures.holds(receipt.hash, receipt.signature, public)


def broken_at(session: Session) -> int | None:
    """Return the number of the first receipt that breaks the chain; None if no receipt does."""
    previous = ZEROS
    query = select(Receipt).order_by(Receipt.number)
    receipts = session.scalars(query.execution_options(yield_per=500, **KEPT))
    for number, receipt in enumerate(receipts, 1):
        if (receipt.number, receipt.previous_hash) != (number, previous):
            return number
        if receipt.hash != hash_of(receipt) or was_kept(receipt):
            return number
        previous = receipt.hash
    return None
