"""Pauses, and long work beside an event loop: each in the form of either client."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")
MIN_SECONDS, MAX_SECONDS, GROWTH = 0.1, 2.0, 1.3

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
