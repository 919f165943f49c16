"""The preferences of a request (RFC 7240): `Prefer: wait`, or `wait=<seconds>`.

seconds = wait_of(prefer)
shown = await ended(lambda: …, seconds, …)      None while it has not ended
"""

import re
from collections.abc import Callable
from time import monotonic
from typing import Annotated, TypeVar

import anyio
from fastapi import Header
from starlette.concurrency import run_in_threadpool

MAX_WAIT_SECONDS = 60.0
WAIT = re.compile(r"wait(?:\s*=\s*\"?(\d{1,9})\"?)?", re.IGNORECASE)
PAUSES = (0.02, 0.5)  # between two looks: the first, and the longest

Result = TypeVar("Result")
PreferHeader = Annotated[
    list[str] | None,
    Header(
        alias="Prefer",
        description="`wait`, or `wait=<seconds>`: answer when it has ended, or after these "
        f"seconds, {MAX_WAIT_SECONDS:g} at most",
    ),
]


def wait_of(prefer: list[str] | None) -> float | None:
    """Return the seconds that the client prefers to wait; None if it does not say."""
    named = [each.split(";")[0].strip() for header in prefer or () for each in header.split(",")]
    for found in filter(None, map(WAIT.fullmatch, named)):  # the first one counts
        return min(float(found[1] or MAX_WAIT_SECONDS), MAX_WAIT_SECONDS)
    return None


async def ended(
    look: Callable[[], Result | None], seconds: float, is_stopping: Callable[[], bool]
) -> Result | None:
    """Return what `look` returns, once it is something; None after so many seconds, or at a stop.

    Nothing waits in a thread: `look` takes one for each look.
    """
    pause, end = PAUSES[0], monotonic() + seconds
    while (found := await run_in_threadpool(look)) is None:
        left = end - monotonic()
        if left <= 0 or is_stopping():
            break
        await anyio.sleep(min(pause, left))
        pause = min(1.5 * pause, PAUSES[1])
    return found
