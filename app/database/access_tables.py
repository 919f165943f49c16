"""The SQL tables of who may do what, by key or by a browser's session, and of who did what."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Base, Sealed, now
from app.database.ids import ordered


class ApiKey(Sealed, Base):
    """A key of the API; its row stays when it is revoked. The secret is nowhere."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("key"))
    name: Mapped[str]
    sha256: Mapped[str]  # of the whole token, which has 256 random bits
    scopes: Mapped[list[Any]]  # sorted
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute or so
    # limits of rate, by process; None: none
    requests_per_second: Mapped[float | None]
    images_per_second: Mapped[float | None]
    # quotas of what the key has made and is still there; None: none
    max_bytes: Mapped[int | None] = mapped_column(BigInteger)
    max_datasets: Mapped[int | None]
    max_components: Mapped[int | None]
    max_queued_trainings: Mapped[int | None]
    max_spaces: Mapped[int | None]
    max_compositions: Mapped[int | None]
    max_evaluations: Mapped[int | None]
    max_batch_predictions: Mapped[int | None]
    # requests that are open at a time, by process; None: any number
    max_concurrent_requests: Mapped[int | None]


class BrowserSession(Base):
    """A browser that has sent a key. The token of its cookie is nowhere."""

    __tablename__ = "browser_session"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)  # of the token
    key_id: Mapped[str] = mapped_column(index=True)  # or settings
    key_sha256: Mapped[str]  # of the key as it was sent: the settings may get another one
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]


class AuditEntry(Sealed, Base):
    """One change by a request or a command; rows are only ever added, and hold no names."""

    __tablename__ = "audit_log"

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("aud"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    key_id: Mapped[str] = mapped_column(index=True)  # or local, settings, command:<user>
    action: Mapped[str]  # a method and a route's template, or a command
    objects: Mapped[list[Any]]  # ids, of what the path names and of what was made
    outcome: Mapped[str]
    request_id: Mapped[str | None] = mapped_column(String(128))  # None: of a command
