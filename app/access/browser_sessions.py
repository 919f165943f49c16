"""Sessions of browsers as rows: begun with a key, found by a cookie, ended.

A cookie's token is `tcs_<secret>`, and the secret has 256 random bits. The row holds the SHA-256 of
the token and of the key that began the session, so whoever reads the database can send neither. The
token against requests of other sites (CSRF) follows from the cookie's, and is stored nowhere.
"""

import hmac
import re
from collections.abc import Iterable
from datetime import timedelta
from secrets import token_hex

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app.access.keys import hash_of
from app.database.access_tables import BrowserSession
from app.database.columns import now
from app.database.sessions import affected

TOKEN = re.compile(r"tcs_[0-9a-f]{64}")
MAX_SESSIONS = 1_000  # of a key at a time; the oldest ends when there is one more


def is_token(text: str) -> bool:
    """Return whether the text could be a session's token."""
    return TOKEN.fullmatch(text) is not None


def csrf_token(token: str) -> str:
    """Return the token that pages of this service, which alone can read it, send with changes."""
    return hmac.digest(token.encode(), b"csrf", "sha256").hex()


def begin(
    session: Session, *, key_id: str, key_sha256: str, seconds: float
) -> tuple[BrowserSession, str]:
    """Add a session of a key; return it with its token, which nobody can find out later."""
    _end_old(session, key_id)
    token, time = f"tcs_{token_hex(32)}", now()
    row = BrowserSession(
        sha256=hash_of(token),
        key_id=key_id,
        key_sha256=key_sha256,
        created_at=time,
        expires_at=time + timedelta(seconds=seconds),
    )
    session.add(row)
    session.flush()
    return row, token


def find(session: Session, token: str) -> BrowserSession | None:
    """Return the session with this token, be its time over or not."""
    return session.get(BrowserSession, hash_of(token))


def end(session: Session, tokens: Iterable[str]) -> None:
    """Remove the sessions with these tokens."""
    hashes = [hash_of(token) for token in tokens]
    affected(session, delete(BrowserSession).where(BrowserSession.sha256.in_(hashes)))


def _end_old(session: Session, key_id: str) -> None:
    """Remove the sessions whose time is over, and those of the key that are too many."""
    mine = select(BrowserSession.sha256).where(BrowserSession.key_id == key_id)
    newest_first = mine.order_by(BrowserSession.created_at.desc(), BrowserSession.sha256)
    too_many = list(session.scalars(newest_first.offset(MAX_SESSIONS - 1)))
    over = BrowserSession.expires_at <= now()
    affected(session, delete(BrowserSession).where(or_(over, BrowserSession.sha256.in_(too_many))))
