"""Runs the API under uvicorn with an embedded worker, as one command that ends cleanly."""

import asyncio
import errno
import logging
import os
import resource
import signal
import socket
import sys
import threading
from time import sleep
from types import FrameType

import uvicorn
from fastapi import FastAPI
from sqlalchemy import make_url

from app.database.sessions import fold_log, open_engine, session_factory, transaction
from app.files import folder_identity, folder_lock
from app.files.blobs import LocalBlobs
from app.images.decoder import decoder_of
from app.inference.engines import AnyEngine, opened_engine
from app.inference.models import SpaceKey
from app.main import create_app
from app.server import http_protocol
from app.server.embedded_worker import EmbeddedWorker
from app.server.garbage import collect_rarely
from app.server.logs import set_up_logs
from app.settings import BadSettings, Settings
from app.store import spaces
from tangent.errors import TangentError, UnknownDevice

DECODE_GRACE_SECONDS = 3  # for images that are being decoded
FILES_FOR_THE_REST = 512  # open files besides those of connections and downloads
GRACE_SECONDS = 10  # for open connections
END_SECONDS = 25  # from a signal to the end of the process, whatever it waits for

log = logging.getLogger(__name__)


def serve(settings: Settings, *, with_worker: bool) -> int:
    """Serve until SIGTERM or SIGINT, with a worker if wanted; return the exit status.

    Raises:
        BadSettings: the address is in use, the default space cannot be opened, the device or the
            key that signs receipts cannot be used, or the folder belongs to another database.
    """
    set_up_logs(settings, "api")
    app = create_app(settings)
    _allow_open_files(settings)
    with folder_lock.shared(settings) as app.state.alone_at:
        folder_identity.claim(settings)  # inside the application an error would be a traceback
        listener = _listen(settings)
        app.state.engine = _opened_engine(settings)
        _make_default_space(settings, app.state.engine)
        _say(settings, app, with_worker=with_worker)
        try:
            status = _run(app, listener, EmbeddedWorker(settings) if with_worker else None)
        finally:
            fold_log(open_engine(settings))
    _leave(status)
    return status


def _say(settings: Settings, app: FastAPI, *, with_worker: bool) -> None:
    """Say in the log what is served, a line each."""
    log.info("version %s", app.version)
    log.info("data folder %s", settings.data_dir.absolute())
    log.info("database %s", make_url(settings.sql_url).render_as_string(hide_password=True))
    log.info("backbone %s, scope %s", settings.backbone, settings.scope)
    log.info("device %s, engine %s", app.state.engine.device_name, settings.engine)
    log.info("worker %s", "beside the API" if with_worker else "none here")


def _run(app: FastAPI, listener: socket.socket, worker: EmbeddedWorker | None) -> int:
    """Run application and worker until a signal to end; return the exit status."""
    settings: Settings = app.state.settings
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, lambda *_: None
        )  # uvicorn handles the signals, then raises them again
    if worker:
        worker.start()
        app.state.worker_fault = lambda: worker.fault
    try:
        config = uvicorn.Config(
            app,
            http=http_protocol.protocol(settings),
            loop="asyncio",  # writes at once, as a lease needs it; uvloop does so later
            log_config=None,
            log_level="warning",
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = Announced(config)
        server.worker = worker
        server.run(sockets=[listener])
        return 0 if server.started else 1
    finally:
        if worker:
            worker.stop()


def _allow_open_files(settings: Settings) -> None:
    """Raise this process's limit of open files towards two for each connection and some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.max_connections + FILES_FOR_THE_REST
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(settings: Settings) -> socket.socket:
    """Open a socket on the settings' address; call this before anything else is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        of_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise BadSettings(
            f"cannot listen on {where} ({error.strerror}): "
            f"choose another --{'port' if of_port else 'host'}"
        ) from None
    return listener


def _opened_engine(settings: Settings) -> AnyEngine:
    try:
        return opened_engine(settings, LocalBlobs(settings.data_dir / "blobs"))
    except UnknownDevice as error:
        raise BadSettings(f"TANGENT_DEVICE is {settings.device!r}: {error}") from None
    except RuntimeError as error:
        raise BadSettings(f"{error}: its lines above say why, mostly memory") from None


def _make_default_space(settings: Settings, engine: AnyEngine) -> None:
    """Make the default space of a new database; in the app an error would be a traceback."""
    key = SpaceKey(settings.backbone, settings.scope, (), settings.precision)
    database = open_engine(settings)
    try:
        with transaction(session_factory(database)) as session:
            spaces.ensure_default(session, lambda: engine.open(key))
    except TangentError as error:
        engine.close()
        raise BadSettings(f"the default space cannot be opened: {error}") from None
    finally:
        database.dispose()


def _leave(status: int) -> None:
    """End the process now if a request still computes in a thread, which nothing can interrupt."""
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    busy = [thread.name for thread in others if not thread.daemon and thread.is_alive()]
    if busy:
        log.warning("ending although work goes on in %s", ", ".join(busy))
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)


def _end_late() -> None:
    sleep(END_SECONDS)
    log.warning("the service could not end cleanly within %g s, and ends now", END_SECONDS)
    os._exit(1)


class Announced(uvicorn.Server):
    """Prints the service's address once it answers; its end has a bound and decodes no images."""

    worker: EmbeddedWorker | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end: of the requests, of the worker and, at the latest, of the process."""
        if not self.should_exit:
            threading.Thread(target=_end_late, name="end", daemon=True).start()
            if self.worker:
                self.worker.request_stop()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        collect_rarely()
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            print(f"Tangent Composer answers: http://{host}:{port}/docs", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        refusing = asyncio.create_task(self._refuse_decoding())
        try:
            await super().shutdown(sockets)
        finally:
            refusing.cancel()

    async def _refuse_decoding(self) -> None:
        """Give images in decoding a while, then refuse all, so that their requests are answered."""
        decoder = decoder_of(self.config.app.state.settings)  # type: ignore[union-attr]
        await asyncio.sleep(DECODE_GRACE_SECONDS)
        while True:
            decoder.interrupt()
            await asyncio.sleep(0.2)  # a request may have begun to decode just now
