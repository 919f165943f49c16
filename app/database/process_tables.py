"""The SQL tables of processes: workers, and what of all workers one does at a time."""

from datetime import datetime

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Base, now


class Worker(Base):
    __tablename__ = "worker"

    executor_id: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(default=now)
    beat_at: Mapped[datetime] = mapped_column(default=now, index=True)


class ReaperLease(Base):
    """The right of one worker to hand back the jobs of dead ones; one row, used on SQLite."""

    __tablename__ = "reaper_lease"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # 1
    holder: Mapped[str]  # executor id
    expires_at: Mapped[datetime]


class Scrub(Base):
    """The scrub under way: its holder and its position; one row."""

    __tablename__ = "scrub"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # 1
    holder: Mapped[str]  # who may go on, until it expires
    expires_at: Mapped[datetime]
    began_at: Mapped[datetime]  # the pass under way, or the last one
    position: Mapped[str | None]  # of the pass under way; None: there is none
    finished_at: Mapped[datetime | None]  # the last whole pass
    damaged_rows: Mapped[int] = mapped_column(default=0)  # that its last reading has found
