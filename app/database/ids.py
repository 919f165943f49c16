"""Ids: opaque, and in the order in which a database has given them.

Lists are in the order of ids, and a client reads on after the last id that it has seen. So a new
id comes after every id that is there, also when the clock was set back, or another machine's clock
is ahead.
"""

import re
from collections.abc import Callable
from secrets import token_hex
from threading import Lock
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database.columns import now

ID = re.compile(r"[a-z]+_([0-9a-f]{12})[0-9a-f]{12}")
MAX_TIME = 2**47  # milliseconds, in the year 6429: an id beyond it is none of ours

_lock = Lock()
_latest: dict[str, int] = {}  # time of this process's last id, by prefix


def new_id(prefix: str, after: str | None = None) -> str:
    """Return a new opaque id such as `cmp_3f…`, in order after this process's others and `after`.

    It begins with a time in milliseconds: the clock's, or a later one where the order needs it.
    """
    with _lock:
        time = max(int(now().timestamp() * 1000), _latest.get(prefix, 0) + 1, _time(after) + 1)
        _latest[prefix] = time
    return f"{prefix}_{time:012x}{token_hex(6)}"


def next_id(session: Session, prefix: str, column: Any) -> str:
    """Return a new id in order after all that the column has."""
    return new_id(prefix, session.scalar(select(func.max(column))))


def ordered(prefix: str) -> Callable[[Any], str]:
    """Return the default of a column of ids: each in order after all that the column has."""

    def make(context: Any) -> str:
        column = context.current_column
        return new_id(prefix, context.connection.scalar(select(func.max(column))))

    return make


def _time(id_: str | None) -> int:
    found = ID.fullmatch(id_ or "")
    time = int(found[1], 16) if found else 0
    return time if time < MAX_TIME else 0
