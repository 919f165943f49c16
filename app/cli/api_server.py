"""One API process: an application under uvicorn, which ends cleanly and in time."""

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from time import monotonic, sleep
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.images.decoder import decoder_of
from app.server import http_protocol
from app.server.garbage import collect_rarely
from app.settings import Settings

DECODE_GRACE_SECONDS = 3  # for images that are being decoded
FILES_FOR_THE_REST = 512  # open files besides those of connections and downloads
GRACE_SECONDS = 10  # for open connections
IDLE_SECONDS = 2  # for threads without work, which have been told to end
END_SECONDS = 25  # from a signal to the end of the process, whatever it waits for
LOOP = "uvloop"  # writes at once what a connection takes, as a lease needs it

log = logging.getLogger(__name__)


def run(
    app: FastAPI,
    listener: socket.socket,
    announce: Callable[[socket.socket], object],
    end: Callable[[], object] = lambda: None,
) -> int:
    """Run the application until a signal to end; return the exit status.

    `announce` is called once it answers, and `end` at the signal, as is the `end` of `app.state`.
    """
    settings: Settings = app.state.settings
    _allow_open_files(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn handles the signals, then raises them again.
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        http=http_protocol.protocol(settings),
        loop=LOOP,
        log_config=None,
        log_level="warning",
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = ApiServer(config, announce, end)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def leave(status: int) -> None:
    """End the process now if a request still computes in a thread, which nothing can interrupt."""
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    lasting = [thread for thread in others if not thread.daemon]
    late = monotonic() + IDLE_SECONDS
    for thread in lasting:
        thread.join(max(0.0, late - monotonic()))
    busy = [thread.name for thread in lasting if thread.is_alive()]
    if busy:
        log.warning("ending although work goes on in %s", ", ".join(busy))
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)


def _allow_open_files(settings: Settings) -> None:
    """Raise this process's limit of open files towards two for each connection and some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.share.max_connections + FILES_FOR_THE_REST
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_late() -> None:
    sleep(END_SECONDS)
    log.warning("the service could not end cleanly within %g s, and ends now", END_SECONDS)
    os._exit(1)


class ApiServer(uvicorn.Server):
    """Tells when it answers; its end has a bound, ends streams and decodes no images."""

    def __init__(
        self,
        config: uvicorn.Config,
        announce: Callable[[socket.socket], object],
        end: Callable[[], object],
    ) -> None:
        super().__init__(config)
        self._announce, self._end = announce, end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end: of the requests and, at the latest, of the process."""
        if not self.should_exit:
            threading.Thread(target=_end_late, name="end", daemon=True).start()
            self._end()
            self.config.app.state.end()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        collect_rarely()
        if self.started and sockets:
            self._announce(sockets[0])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.event_streams.end()  # type: ignore[union-attr]
        refusing = asyncio.create_task(self._refuse_decoding())
        try:
            await super().shutdown(sockets)
        finally:
            refusing.cancel()

    async def _refuse_decoding(self) -> None:
        """Give images in decoding a while, then refuse all, so that their requests are answered.

        Archives are not read any further.
        """
        state = self.config.app.state  # type: ignore[union-attr]
        decoder = decoder_of(state.settings)
        await asyncio.sleep(DECODE_GRACE_SECONDS)
        state.upload_slots.end()
        while True:
            decoder.interrupt()
            await asyncio.sleep(0.2)  # a request may have begun to decode just now
