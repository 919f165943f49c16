"""Pages by keyset: in any order, each page goes on after the last row of the page before it.

    order = Order(Dataset.name, Dataset.id)
    session.scalars(order.page(select(Dataset), after, limit))
    order.cursor(row)                 `after` of the next page

A cursor holds the last row's place and not its number, so rows that come or go before it shift
nothing, and it stays good when its own row is deleted or changed. A unique key decides among rows
with equal values. A row whose value changes between two pages may be met twice, or not at all.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.database.columns import UtcDateTime
from app.errors import Invalid

ID_LIKE = re.compile(r"[a-z]+_[0-9a-f]+(_[0-9]+)?")  # as app.database.ids and images have them
MAX_CURSOR = 4096  # a name of 255 characters outside of the BMP, as JSON escapes in base64

Rows = TypeVar("Rows", bound=Select[Any])


@dataclass(frozen=True)
class Order:
    """An order by a column, and among equal values by a unique key."""

    column: InstrumentedAttribute[Any]
    key: InstrumentedAttribute[str]
    descending: bool = False

    def reversed(self) -> "Order":
        """Return the order from the other end."""
        return Order(self.column, self.key, not self.descending)

    def page(self, query: Rows, after: str | None, limit: int) -> Rows:
        """Return the query for the rows after the cursor, in this order.

        Raises:
            Invalid: `bad_cursor`.
        """
        keys = [self.key] if self._is_by_key else [self.column, self.key]
        query = query.order_by(*(each.desc() if self.descending else each for each in keys))
        if after is None:
            return query.limit(limit)
        if self._is_by_key:
            if self.key.key == "id":
                check_id(after)
            elif _values(after) is not None:  # of another order; as a name it begins anywhere
                raise _bad_cursor()
            return query.where(self._beyond(self.key, after)).limit(limit)
        value, key = self._place(after)
        beyond = and_(self.column == value, self._beyond(self.key, key))
        return query.where(or_(self._beyond(self.column, value), beyond)).limit(limit)

    def cursor(self, row: Any) -> str:
        """Return the value of `after` for the page behind this row."""
        key = getattr(row, self.key.key)
        if self._is_by_key:
            return str(key)
        value = getattr(row, self.column.key)
        place = [value.isoformat() if isinstance(value, datetime) else value, key]
        return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")

    @property
    def _is_by_key(self) -> bool:
        return self.column is self.key

    def _beyond(self, column: InstrumentedAttribute[Any], value: Any) -> Any:
        return column < value if self.descending else column > value

    def _place(self, cursor: str) -> tuple[Any, str]:
        found = _values(cursor)
        if found is None:
            raise _bad_cursor()
        value, key = found
        if not isinstance(self.column.type, UtcDateTime):
            return value, key
        try:
            return datetime.fromisoformat(value).astimezone(UTC), key
        except (ValueError, OverflowError):
            raise _bad_cursor() from None


def check_id(after: str | None) -> str | None:
    """Return the cursor of a list that is in the order of its ids, which need not be there still.

    Raises:
        Invalid: `bad_cursor`.
    """
    if after is not None and not ID_LIKE.fullmatch(after):
        raise _bad_cursor()
    return after


def last_seen(session: Session, column: InstrumentedAttribute[Any], after: str) -> Any:
    """Return the column of the row with this id, of a list that is in the order of the column.

    Raises:
        Invalid: `bad_cursor`.
    """
    found = session.scalar(select(column).where(column.class_.id == after))
    if found is None:
        raise _bad_cursor()
    return found


def _values(cursor: str) -> tuple[str, str] | None:
    """Return the value and the key in a cursor that is not a key alone; None if it has none."""
    try:
        value, key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(value, str) or not isinstance(key, str) or "\0" in value + key:
            return None
        (value + key).encode()
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        return None
    return value, key


def _bad_cursor() -> Invalid:
    return Invalid(
        "bad_cursor",
        "`after` is not the `next` of a page in this order: send the same `order` with it, "
        "or begin again without it",
    )
