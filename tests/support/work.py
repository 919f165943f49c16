"""A bound on work, which is the same on every machine, where time is not."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def bounded_work(most: int) -> Iterator[None]:
    """Fail as soon as the block has run so many lines of Python that it calls, and one more."""
    left = most

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        left -= event == "line"
        if left < 0:
            place = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
            raise AssertionError(f"more than {most} lines were run; the last is in {place}")
        return count

    before = sys.gettrace()  # of a debugger or a measure of coverage
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
