"""The SQL tables by which processes know of each other's changes."""

from datetime import datetime

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Base, now


class AnsweringProcess(Base):
    """One API process: it does not answer as of an epoch before the one that it has confirmed.

    See app.inference.lease.
    """

    __tablename__ = "answering_process"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]  # host and number, for people
    lease_seconds: Mapped[float]
    epoch: Mapped[int | None]  # None: it has not answered anything yet
    registered_at: Mapped[datetime] = mapped_column(default=now)


class SelectionVersion(Base):
    """The number of commits that have changed what selections are made of; one row.

    See app.database.selection_version.
    """

    __tablename__ = "selection_version"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # 1
    version: Mapped[int] = mapped_column(BigInteger)
