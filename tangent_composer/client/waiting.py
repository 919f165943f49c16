"""Pauses, and long work beside an event loop: each in the form of either client."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import ParamSpec, TypeVar

from tangent_composer.client.errors import NotFinished, TangentError

Given = ParamSpec("Given")
Result = TypeVar("Result")
MIN_SECONDS, MAX_SECONDS, GROWTH = 0.1, 2.0, 1.3
MIN_LOOK_SECONDS = 1.0  # for the last look at the end of a wait, and for the only one of timeout=0

Work = Callable[[], Result]
AsyncWork = Callable[[], Awaitable[Result]]
pause = time.sleep
async_pause = asyncio.sleep


def call(function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Return the function's result."""
    return function(*args, **kwargs)


async def async_call(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Return the function's result, computed in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(function, *args, **kwargs)


def intervals() -> Iterator[float]:
    """Yield the pauses between looks at a piece of work, longer and longer."""
    seconds = MIN_SECONDS
    while True:
        yield seconds
        seconds = min(seconds * GROWTH, MAX_SECONDS)


class Deadline:
    """The end of a wait: what is left until it bounds each pause and each request."""

    def __init__(self, what: str, seconds: float | None) -> None:
        """`what` is waited for, in words; `seconds` is None for a wait without an end."""
        self._what, self._seconds = what, seconds
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; 0 after the end."""
        return max(0.0, self._end - time.monotonic())

    def of_request(self, timeout: float) -> float:
        """Return the most seconds without a byte for a request, `timeout` at most."""
        return min(timeout, max(self.left(), MIN_LOOK_SECONDS))

    def unfinished(self, status: str) -> NotFinished:
        """Return the error for what has this status at the end."""
        return NotFinished(
            "not_finished", f"{self._what} is {status} after {self._seconds or 0:g} s"
        )

    def unanswered(self, why: TangentError) -> NotFinished:
        """Return the error for what could not be looked at until the end."""
        return NotFinished(
            "not_finished",
            f"it is unknown whether {self._what} is ready after {self._seconds or 0:g} s, "
            f"as {why.detail}",
        )
