"""The SQL table of the processes that answer, see app.inference.lease."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Base, now


class AnsweringProcess(Base):
    """One API process: it does not answer as of an epoch before the one that it has confirmed."""

    __tablename__ = "answering_process"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]  # host and number, for people
    lease_seconds: Mapped[float]
    epoch: Mapped[int | None]  # None: it has not answered anything yet
    registered_at: Mapped[datetime] = mapped_column(default=now)
