"""Clocks of simulated processes, which jump as a machine's clock does when somebody sets it.

    with clocks.set_by_hand() as clock:
        clock.offset = -3600.0        from now on it is an hour earlier

The times of files stay those of the file system, as on a folder that is shared by several machines.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, tzinfo
from typing import Self
from unittest.mock import patch

# The modules that ask for the date and the time.
DATED = ("app.database.columns", "app.database.jobs", "tangent_composer.schemas.keys")


class Clock:
    """The clock of the process that acts."""

    offset = 0.0  # seconds


class StandingClock:
    """A clock that stands until a test moves it."""

    time = 100.0  # seconds

    def __call__(self) -> float:
        return self.time


@contextmanager
def set_by_hand() -> Iterator[Clock]:
    """Let all code of the block that asks for the time of day have it from this clock."""
    clock, real = Clock(), time.time

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=clock.offset)

    with ExitStack() as stack:
        stack.enter_context(patch("time.time", lambda: real() + clock.offset))
        for module in DATED:
            stack.enter_context(patch(f"{module}.datetime", Shifted))
        yield clock
