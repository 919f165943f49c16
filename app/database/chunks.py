"""Values in chunks, as a database bounds how many of them one statement may name."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Value = TypeVar("Value")

MAX_VALUES = 500  # of a statement; SQLite and Postgres take more, but not without a bound


def chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Yield all values in their order, as many at a time as one statement may name."""
    for start in range(0, len(values), MAX_VALUES):
        yield values[start : start + MAX_VALUES]
