"""Callers: whoever sends a request, by a key or, where none is needed, on this machine.

    sessions = with_info(sessions, caller=caller)

A session that has a caller shows and finds only the spaces that this caller may see, and what is in
them. A session without one, of a worker or a command, sees everything. Whatever a change has to
reach, such as all that was trained from a deleted dataset, is read past the caller.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.database.columns import now
from app.database.tables import ApiKey, Space

LOCAL = "local"  # id of the caller where no key is needed
SETTINGS = "settings"  # id of the key in TANGENT_API_KEY
ADMIN = "admin"  # the scope that includes all others


@dataclass(frozen=True, kw_only=True)
class KeyLimits:
    """The most that a key may do and keep; None: no limit."""

    requests_per_second: float | None = None
    images_per_second: float | None = None
    max_bytes: int | None = None
    max_datasets: int | None = None
    max_components: int | None = None
    max_queued_trainings: int | None = None
    max_spaces: int | None = None
    max_compositions: int | None = None
    max_evaluations: int | None = None
    max_batch_predictions: int | None = None
    max_concurrent_requests: int | None = None


@dataclass(frozen=True)
class Caller:
    """An id, and what it may do; only keys with a row have limits."""

    id: str
    scopes: frozenset[str] = frozenset({ADMIN})
    limits: KeyLimits = field(default_factory=KeyLimits)
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @classmethod
    def of(cls, row: ApiKey) -> Self:
        """Return the caller that sends the key of this row."""
        limits = {name: getattr(row, name) for name in KeyLimits.__dataclass_fields__}
        scopes = frozenset(row.scopes)
        return cls(row.id, scopes, KeyLimits(**limits), row.expires_at, row.revoked_at)

    @property
    def key_id(self) -> str | None:
        """Return the id of the key's row; None for a caller without one."""
        return None if self.id in (LOCAL, SETTINGS) else self.id

    @property
    def is_admin(self) -> bool:
        """Return whether the caller may do everything."""
        return ADMIN in self.scopes

    @property
    def has_expired(self) -> bool:
        """Return whether the key's time is over."""
        return self.expires_at is not None and self.expires_at <= now()

    def may(self, scope: str) -> bool:
        """Return whether the caller has the scope; admin includes all."""
        return self.is_admin or scope in self.scopes


LOCAL_CALLER = Caller(LOCAL)


def caller_of(session: Session) -> Caller | None:
    """Return the caller of the session's request; None for the service's own work."""
    return session.info.get("caller")


def key_id_of(session: Session) -> str | None:
    """Return the id of the key that sends the session's request, if it has a row."""
    caller = caller_of(session)
    return None if caller is None else caller.key_id


def has_made(session: Session, key_id: str | None) -> bool:
    """Return whether the session's caller is this key, or may see what anybody has made."""
    caller = caller_of(session)
    if caller is None or caller.is_admin:
        return True
    return key_id is not None and key_id == caller.key_id


def sees(session: Session, space: str | None) -> bool:
    """Return whether the session's caller may see the space with this name, and what is in it."""
    caller = caller_of(session)
    if caller is None or caller.is_admin or space is None:
        return True
    row = session.get(Space, space)
    return row is None or row.shared or row.owner in (None, caller.id)


def seen(session: Session, space: Any) -> list[ColumnElement[bool]]:
    """Return the condition that the caller may see the space whose name is in this column."""
    caller = caller_of(session)
    if caller is None or caller.is_admin:
        return []
    mine = or_(Space.owner.is_(None), Space.owner == caller.id, Space.shared)
    return [or_(space.is_(None), space.in_(select(Space.name).where(mine)))]
