"""Receipts: an append-only ledger of deletions in which each entry seals the one before it.

    hash = sha256(canonical JSON of {number, id, created_at, body, previous_hash})

Numbers are 1, 2, 3 … without gaps, and the first `previous_hash` is 64 zeros. Whoever noted the
head's hash can tell later whether any receipt up to it was changed, dropped or slipped in.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.store.tables import Component, Receipt, now

ZEROS = "0" * 64
LOCK = 0x72637074  # "rcpt": the number of our advisory lock on Postgres


def canonical(value: Any) -> bytes:
    """The one way to write a JSON value: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def hash_of(receipt: Receipt) -> str:
    """What the receipt's `hash` must be."""
    sealed = {
        "number": receipt.number,
        "id": receipt.id,
        "created_at": receipt.stamp,
        "body": receipt.body,
        "previous_hash": receipt.previous_hash,
    }
    return hashlib.sha256(canonical(sealed)).hexdigest()


def lock(session: Session) -> None:
    """Hold the ledger until the transaction ends: no one else appends, publishes or deletes."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    # On SQLite a writing transaction is alone anyway, see app.store.db.


def append(session: Session, *, receipt_id: str, body: dict[str, Any]) -> Receipt:
    """The next receipt of the ledger; the caller holds its `lock`."""
    last = head(session)
    receipt = Receipt(
        number=last.number + 1 if last else 1,
        id=receipt_id,
        body=body,
        previous_hash=last.hash if last else ZEROS,
        created_at=now(),
    )
    receipt.hash = hash_of(receipt)
    session.add(receipt)
    session.flush()
    return receipt


def head(session: Session) -> Receipt | None:
    """The last receipt; None before the first deletion."""
    return session.scalar(select(Receipt).order_by(Receipt.number.desc()).limit(1))


def epoch(session: Session) -> int:
    """How many deletions there have been; an answer begun at another number may be out of date."""
    return session.scalar(select(func.max(Receipt.number))) or 0


def get(session: Session, receipt_id: str) -> Receipt:
    """The receipt with this id.

    Raises:
        NotFound: `receipt_not_found`.
    """
    receipt = session.scalar(select(Receipt).where(Receipt.id == receipt_id))
    if receipt is None:
        raise NotFound(
            "receipt_not_found", f"no receipt {receipt_id!r}: GET /v1/receipts lists all there are"
        )
    return receipt


def list_(session: Session, *, after: str | None, limit: int) -> list[Receipt]:
    """Receipts from the first on, those behind the receipt `after`."""
    query = select(Receipt).order_by(Receipt.number).limit(limit)
    if after is not None:
        query = query.where(Receipt.number > get(session, after).number)
    return list(session.scalars(query))


def broken_at(session: Session) -> int | None:
    """The number of the first receipt that does not follow from the one before; None if all do."""
    previous = ZEROS
    receipts = session.scalars(
        select(Receipt).order_by(Receipt.number).execution_options(yield_per=500)
    )
    for number, receipt in enumerate(receipts, 1):
        if (receipt.number, receipt.previous_hash) != (number, previous):
            return number
        if receipt.hash != hash_of(receipt):
            return number
        previous = receipt.hash
    return None


def manifest(session: Session, space: str, *, before: datetime | None = None) -> tuple[str, int]:
    """One hash over a space's ready components, and their number; `before`: those ready by then."""
    query = select(Component.sha256).where(Component.space == space, Component.status == "ready")
    if before is not None:
        query = query.where(Component.finished_at < before)
    return manifest_of(session.scalars(query))


def manifest_of(shas: Iterable[str | None]) -> tuple[str, int]:
    """SHA-256 of the canonical JSON list of sorted component sha256, and its length."""
    ordered = sorted(sha or "" for sha in shas)
    return hashlib.sha256(canonical(ordered)).hexdigest(), len(ordered)
