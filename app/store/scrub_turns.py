"""Turns at the scrub: of all processes on all machines one reads, from where the last one ended.

turn = take(session, holder, period=…)     None: another one reads, or the next pass is not due
keep(session, holder, position)            now and then; False: another one has taken over
finish(session, holder)                    at the end of the pass; or `leave`, to go on later
"""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.database.sessions import hold_write_lock
from app.database.tables import Scrub
from app.store.workers import clock

LEASE_SECONDS = 60.0  # without a sign of the holder, after which another process goes on
BEGINNING = ""  # the position before the first file


def take(session: Session, holder: str, *, period: float) -> str | None:
    """Take the turn if a pass is under way or due; return the position to go on from."""
    hold_write_lock(session)
    time, row = clock(session), session.get(Scrub, 1)
    span = timedelta(seconds=LEASE_SECONDS)
    if row is None:
        row = Scrub(number=1, holder=holder, expires_at=time + span, began_at=time, position="")
        session.add(row)
        return BEGINNING
    # A lease that ends later than one can was taken before the clock was set back.
    if row.holder != holder and time < row.expires_at <= time + span:
        return None
    if row.position is None:
        if row.began_at <= time < row.began_at + timedelta(seconds=period):
            return None
        row.began_at, row.position = time, BEGINNING
    row.holder, row.expires_at = holder, time + span
    return row.position


def keep(session: Session, holder: str, position: str) -> bool:
    """Renew the turn and note how far it has come; False if another process has it by now."""
    row = _held(session, holder)
    if row is None:
        return False
    row.position, row.expires_at = position, clock(session) + timedelta(seconds=LEASE_SECONDS)
    return True


def note_rows(session: Session, holder: str, damaged: int) -> bool:
    """Note how many rows are damaged; False if there were as many before."""
    row = _held(session, holder)
    if row is None or row.damaged_rows == damaged:
        return False
    row.damaged_rows = damaged
    return True


def finish(session: Session, holder: str) -> None:
    """End the pass, unless another process has taken over."""
    row = _held(session, holder)
    if row is not None:
        row.position, row.finished_at = None, clock(session)
        row.expires_at = row.finished_at


def leave(session: Session, holder: str) -> None:
    """Let another process go on at once."""
    row = _held(session, holder)
    if row is not None:
        row.expires_at = clock(session)


def finished_at(session: Session) -> datetime | None:
    """Return when the last whole pass ended; None if there was none."""
    row = session.get(Scrub, 1)
    return None if row is None else row.finished_at


def damaged_rows(session: Session) -> int:
    """Return how many rows the last reading of the database has found damaged."""
    row = session.get(Scrub, 1)
    return 0 if row is None else row.damaged_rows


def _held(session: Session, holder: str) -> Scrub | None:
    hold_write_lock(session)
    row = session.get(Scrub, 1)
    return row if row is not None and row.holder == holder else None
