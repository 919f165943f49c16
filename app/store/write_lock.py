"""The write lock: one writer at a time among deletions, publications and what depends on them.

    write_lock.hold(session)        first of all in the transaction, before any row's lock

A deletion must find everything that was made from the deleted data, and its receipt must say
exactly which components remain. So every transaction that publishes a component, derives one,
changes a composition, stores an evaluation or fits weights holds this lock until it ends: a
deletion comes wholly before such a change or wholly after it. As the lock comes before every
row's, no two transactions can wait for each other.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.tables import Receipt

ADVISORY_LOCK = 0x72637074  # "rcpt": the lock's number on Postgres


def hold(session: Session) -> None:
    """Hold the write lock until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
    # On SQLite a writing transaction is alone anyway, see app.store.db.


def deletions_so_far(session: Session) -> int:
    """Return the number of the last receipt, which grows with every deletion in any process."""
    return session.scalar(select(func.max(Receipt.number))) or 0
