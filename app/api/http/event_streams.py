"""The streams of events that a process has open: bounded, and fed by one look for all of them."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from starlette.concurrency import run_in_threadpool

from app.errors import NotReady

POLL_SECONDS = 0.5
RETRY_SECONDS = 15

log = logging.getLogger(__name__)

Look = Callable[[Mapping[str, int]], set[str]]


class EventStreams:
    """Waits for news of components: one query in every POLL_SECONDS, however many wait."""

    def __init__(self, most: int, look: Look) -> None:
        """`look` takes the number of the last event seen by component, and returns who has news."""
        self._most, self._look = most, look
        self._open = 0
        self._is_ending = asyncio.Event()
        self._waiting: dict[asyncio.Future[bool], tuple[str, int]] = {}
        self._poller: asyncio.Task[None] | None = None

    @property
    def is_ending(self) -> bool:
        """Tell whether the process ends, and each stream with what it has sent."""
        return self._is_ending.is_set()

    def end(self) -> None:
        """End every stream that waits, and those to come; for the thread of the event loop."""
        self._is_ending.set()
        for future in self._waiting:
            if not future.done():
                future.set_result(True)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_ending.wait(), seconds)

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one stream more during the block.

        Raises:
            NotReady: `too_many_streams`.
        """
        if self._open >= self._most:
            raise NotReady(
                "too_many_streams",
                f"{self._most} streams of events are open, which is the most: ask for the events "
                "as JSON (without Accept: text/event-stream), or try again later",
                retry_after=RETRY_SECONDS,
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def has_news(self, component_id: str, seen: int, seconds: float) -> bool:
        """Wait for news of the component after this event; return False if none came in time.

        The end is news of all.
        """
        if self.is_ending:
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = component_id, seen
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        finally:
            del self._waiting[future]

    async def _poll(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(POLL_SECONDS)
                await self._look_once()
        finally:
            self._poller = None

    async def _look_once(self) -> None:
        waiting = dict(self._waiting)
        seen: dict[str, int] = {}
        for id_, last in waiting.values():
            seen[id_] = min(last, seen.get(id_, last))
        try:
            news = await run_in_threadpool(self._look, seen) if seen else set()
        except Exception as error:  # each stream finds the same, and says so to its client
            log.debug("looking for events: %s", error)
            news = set(seen)
        for future, (id_, _) in waiting.items():
            if id_ in news and not future.done():
                future.set_result(True)
