"""API keys as rows: created, listed, revoked; a token is shown once and stored nowhere.

A token is `tc_<id>_<secret>`: the id finds the row, and the secret has 256 random bits. The row
holds the SHA-256 of the token. Nobody can try out 2**256 secrets, so a slow hash would only slow
down the service.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from hmac import compare_digest
from secrets import token_hex

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from app.access.callers import KeyLimits
from app.database.columns import now
from app.database.ids import next_id
from app.database.row_checksums import KEPT
from app.database.sessions import affected
from app.database.tables import ApiKey
from app.errors import NotFound

SCOPES = ("read", "predict", "train", "admin")  # admin includes the others
USE_SECONDS = 60  # between two notes of a key's use
TOKEN = re.compile(r"tc_(key_[0-9a-f]{24})_[0-9a-f]{64}")


def id_in(token: str) -> str | None:
    """Return the key's id that a token has in it; None for any other text."""
    found = TOKEN.fullmatch(token)
    return found and found[1]


def hash_of(token: str) -> str:
    """Return the hash that the token's row must have."""
    return hashlib.sha256(token.encode()).hexdigest()


def fits(sha256: str, token: str) -> bool:
    """Return whether the token has this hash, in a time that says nothing about the hash."""
    return compare_digest(sha256, hash_of(token))


def create(
    session: Session,
    *,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None = None,
    limits: KeyLimits | None = None,
) -> tuple[ApiKey, str]:
    """Add a key; return it with its token, which nobody can find out later."""
    key_id = next_id(session, "key", ApiKey.id)
    token = f"tc_{key_id}_{token_hex(32)}"
    row = ApiKey(
        id=key_id,
        name=name,
        sha256=hash_of(token),
        scopes=[scope for scope in SCOPES if scope in scopes],
        expires_at=expires_at,
        **asdict(limits or KeyLimits()),
    )
    session.add(row)
    session.flush()
    return row, token


def exist(session: Session) -> bool:
    """Return whether any key was ever made, be it revoked or expired."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def has_admin(session: Session) -> bool:
    """Return whether a key with scope admin can be used now."""
    unexpired = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())
    scopes = select(ApiKey.scopes).where(ApiKey.revoked_at.is_(None), unexpired)
    return any("admin" in each for each in session.scalars(scopes))


def get(session: Session, key_id: str) -> ApiKey:
    """Return the key with this id.

    Raises:
        NotFound: `key_not_found`.
    """
    row = session.get(ApiKey, key_id)
    if row is None:
        raise NotFound("key_not_found", f"no key {key_id!r}: GET /v1/keys lists those there are")
    return row


def list_(session: Session, *, after: str | None, limit: int) -> list[ApiKey]:
    """Return keys after the id `after`, oldest first, revoked ones too."""
    query = select(ApiKey).order_by(ApiKey.id).limit(limit)
    if after is not None:
        query = query.where(ApiKey.id > after)
    return list(session.scalars(query.execution_options(**KEPT)))


def revoke(session: Session, key_id: str) -> ApiKey:
    """Revoke the key for good; a key that is revoked already stays as it is.

    Raises:
        NotFound: as `get`.
    """
    row = get(session, key_id)
    if row.revoked_at is None:
        row.revoked_at = now()
        session.flush()
    return row


def note_use(session: Session, key_id: str) -> None:
    """Store the time of the key's last use, unless that was done within the last minute."""
    before = now() - timedelta(seconds=USE_SECONDS)
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < before)
    affected(
        session,
        update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=now()),
    )
