"""The order of receipts and of everything else: by the ledger's numbers, as clocks differ."""

from sqlalchemy import ScalarSelect, func, select

from app.database.tables import Receipt


def receipts_so_far() -> ScalarSelect[int]:
    """Return the number of the last receipt as a part of a statement; the write lock is held."""
    return select(func.coalesce(func.max(Receipt.number), 0)).scalar_subquery()
