"""A component's events as they come: server-sent events that resume where a client left off.

Event ids are those of the rows, so `Last-Event-ID` and `?after=` mean the same. The stream ends
with the event that ends the training; a comment every 15 s keeps proxies from closing a quiet one.
"""

import json
from collections.abc import AsyncIterator
from typing import NamedTuple

import anyio
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool

from app.api.http.deps import Sessions
from app.errors import Gone
from app.schemas.components import EventOut
from app.store import components
from app.store.db import transaction

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
BATCH = 100


class Read(NamedTuple):
    """Some events, and whether there will be no more."""

    events: list[EventOut]
    over: bool


def read(reading: Sessions, component_id: str, after: int, limit: int) -> Read:
    """The events behind `after`.

    Raises:
        NotFound, Gone: as `components.get`.
    """
    with transaction(reading) as session:
        # The status first: whoever sees the last one sees its event, which came with it.
        ended = components.get(session, component_id).status in components.TERMINAL
        rows = components.events(session, component_id, after=after, limit=limit)
        return Read([EventOut.of(row) for row in rows], ended and len(rows) < limit)


def stream(reading: Sessions, component_id: str, after: int) -> EventSourceResponse:
    """The answer that sends events until the training has ended."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_frames(reading, component_id, after), headers=headers)


async def _frames(reading: Sessions, component_id: str, after: int) -> AsyncIterator[bytes]:
    quiet = 0.0
    while True:
        try:
            found = await run_in_threadpool(read, reading, component_id, after, BATCH)
        except Gone as gone:
            yield format_sse_event(
                event="deleted", data_str=json.dumps({"code": gone.code} | gone.extra)
            )
            return
        for event in found.events:
            after, quiet = event.id, 0.0
            yield format_sse_event(
                id=str(event.id), event=event.type, data_str=event.model_dump_json()
            )
        if found.over:
            return
        if not found.events:
            if quiet >= HEARTBEAT_SECONDS:
                quiet = 0.0
                yield format_sse_event(comment="still here")
            await anyio.sleep(POLL_SECONDS)
            quiet += POLL_SECONDS
