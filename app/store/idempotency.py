"""Idempotency keys: which resource an earlier request with the same key has created.

Only the status and the resource's id are kept. The body of a repeated answer is rendered anew, so
it cannot bring back what was deleted in the meantime.
"""

import hashlib
import json
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.store.tables import IdempotencyKey


def hash_of(request: Any) -> str:
    """SHA-256 of the request as canonical JSON."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def claim(
    session: Session, *, key: str, route: str, request_hash: str, status: int
) -> IdempotencyKey:
    """The key's row: a new one with an empty `resource_id`, or that of the request before.

    A second request with the same key waits here until the first one's transaction has ended.

    Raises:
        Invalid: `idempotency_key_reused` if the earlier request was another one.
    """
    new = IdempotencyKey(
        key=key, route=route, request_hash=request_hash, status=status, resource_id=""
    )
    try:
        with session.begin_nested():
            session.add(new)
        return new
    except IntegrityError:
        row = session.get_one(IdempotencyKey, (key, route))
    _same(row, request_hash)
    return row


def find(session: Session, *, key: str, route: str, request_hash: str) -> str | None:
    """The id of the resource that a finished request with this key has created.

    Raises:
        Invalid: `idempotency_key_reused`.
    """
    row = session.get(IdempotencyKey, (key, route))
    if row is None:
        return None
    _same(row, request_hash)
    return row.resource_id


def _same(row: IdempotencyKey, request_hash: str) -> None:
    if row.request_hash != request_hash:
        raise Invalid(
            "idempotency_key_reused",
            f"Idempotency-Key {row.key!r} was used for another request to this route: "
            "send a new key with a new request, or repeat the first request unchanged",
        )
