"""Server-sent events: a component's events, live, resuming where a client left off.

Event ids are the ids of the rows, so `Last-Event-ID` and `?after=` mean the same. The stream ends
with the event that ends the training; a comment every 15 s keeps proxies from closing a quiet one.
A stream stays open while the database is away: browsers come back after a cut, but not after a 503.
At the service's end it ends in good order, with whatever it has sent, and browsers come back.
"""

import json
import logging
from collections.abc import AsyncIterator

from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from app.api.http import problems
from app.api.http.event_streams import EventStreams
from app.api.http.head import is_head
from app.database import outages
from app.errors import Gone, NotReady
from app.operations.training import events_after
from app.parts import Parts

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
OUTAGE_SECONDS = 5.0  # between two tries while the database is away
BATCH = 100


class BoundedStream(EventSourceResponse):
    """A stream of events that counts among the open ones while it is sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, or the problem of too many streams."""
        if is_head(scope):
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        streams: EventStreams = scope["app"].state.event_streams
        try:
            with streams.one_more():
                await super().__call__(scope, receive, send)
        except NotReady as problem:
            await problems.retriable(scope, problem)(scope, receive, send)


def stream(
    parts: Parts, streams: EventStreams, component_id: str, after: int
) -> EventSourceResponse:
    """Return the answer that sends events until the training has ended."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return BoundedStream(_frames(parts, streams, component_id, after), headers=headers)


async def _frames(
    parts: Parts, streams: EventStreams, component_id: str, after: int
) -> AsyncIterator[bytes]:
    while not streams.is_ending:
        try:
            found = await run_in_threadpool(events_after, parts, component_id, after, BATCH)
        except Gone as gone:
            yield format_sse_event(
                event="deleted", data_str=json.dumps({"code": gone.code} | gone.extra)
            )
            return
        except Exception as error:
            outage = outages.problem_of(error)
            if outage is None:
                raise
            log.warning("events of %s: %s: %s", component_id, outage.code, error)
            yield format_sse_event(comment=outage.code)
            await streams.pause(OUTAGE_SECONDS)
            continue
        for event in found.events:
            after = event.id
            yield format_sse_event(
                id=str(event.id), event=event.type, data_str=event.model_dump_json()
            )
        if found.over:
            return
        if len(found.events) < BATCH:
            while not await streams.has_news(component_id, after, HEARTBEAT_SECONDS):
                yield format_sse_event(comment="still here")
