"""Spaces that no request has needed yet, opened once after the start, one after the other.

Only a space whose backbone still has the fingerprint of its row can answer. Probing tells before
the first request: in GET /v1/spaces, /readyz, /metrics and the log.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from app.database import outages
from app.database.row_checksums import was_kept
from app.database.sessions import transaction
from app.parts import Parts
from app.store import spaces

MAX_PROBED = 100  # spaces, by name; others are opened when they are needed
CLOSING_SECONDS = 5.0

log = logging.getLogger(__name__)


@contextmanager
def probing(parts: Parts) -> Iterator[None]:
    """Probe the spaces in a thread during the block."""
    stop = Event()
    thread = Thread(target=_probe_all, args=(parts, stop), name="space-probes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(CLOSING_SECONDS)


def _probe_all(parts: Parts, stop: Event) -> None:
    try:
        with transaction(parts.reading) as session:
            rows = spaces.list_(session, after=None, limit=MAX_PROBED)
        for row in rows:
            if stop.is_set():
                return
            if not was_kept(row):  # a damaged row says nothing
                parts.spaces.probe(row, parts.engine.probe)
    except Exception as error:  # the requests that need a space will tell
        if not stop.is_set():
            outages.log_failure(log, error, "spaces are not probed")
