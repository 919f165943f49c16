"""Runs the API under uvicorn with an embedded worker, as one command that ends cleanly."""

import asyncio
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from time import monotonic

import uvicorn
from fastapi import FastAPI

from app import http_protocol
from app.decoding.decoder import decoder_of
from app.main import create_app
from app.settings import BadSettings, Settings
from app.store import folder_identity, folder_lock, spaces
from app.store.db import fold_log, open_engine, session_factory, transaction
from tangent import open_space
from tangent.errors import TangentError, UnknownDevice
from tangent.space import device_of

DECODE_GRACE_SECONDS = 3  # for images that are being decoded
GRACE_SECONDS = 10  # for open connections, then for the worker to hand its job back
FILES_FOR_THE_REST = 512  # open files besides those of connections and downloads
RESTART_SECONDS = (1.0, 60.0)  # pause before a crashed worker is restarted: first, longest

log = logging.getLogger(__name__)


def serve(settings: Settings, *, with_worker: bool) -> int:
    """Serve until SIGTERM or SIGINT, with a worker if wanted; return the exit status.

    Raises:
        BadSettings: the address is in use, the default space cannot be opened, the device or the
            key that signs receipts cannot be used, or the folder belongs to another database.
    """
    app = create_app(settings)
    _check_device(settings.device)
    _allow_open_files(settings)
    with folder_lock.shared(settings) as app.state.alone_at:
        folder_identity.claim(settings)  # inside the application an error would be a traceback
        listener = _listen(settings)
        _make_default_space(settings)
        try:
            return _run(app, listener, EmbeddedWorker(settings) if with_worker else None)
        finally:
            fold_log(open_engine(settings))


def _run(app: FastAPI, listener: socket.socket, worker: "EmbeddedWorker | None") -> int:
    """Run application and worker until a signal to end; return the exit status."""
    settings: Settings = app.state.settings
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, lambda *_: None
        )  # uvicorn handles the signals, then raises them again
    if worker:
        worker.start()
    try:
        config = uvicorn.Config(
            app,
            http=http_protocol.protocol(settings),
            log_level="warning",
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        server = Announced(config)
        server.run(sockets=[listener])
        return 0 if server.started else 1
    finally:
        if worker:
            worker.stop()


def _check_device(name: str) -> None:
    try:
        device_of(name)
    except UnknownDevice as error:
        raise BadSettings(f"TANGENT_DEVICE is {name!r}: {error}") from None


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
        raise BadSettings(
            f"cannot listen on {where} ({error.strerror}): choose another --port"
        ) from None
    return listener


def _make_default_space(settings: Settings) -> None:
    """Make the default space of a new database; in the app an error would be a traceback."""
    engine = open_engine(settings)
    try:
        with transaction(session_factory(engine)) as session:
            backbone, scope, device = settings.backbone, settings.scope, settings.device
            spaces.ensure_default(session, lambda: open_space(backbone, scope, device=device))
    except TangentError as error:
        raise BadSettings(f"the default space cannot be opened: {error}") from None
    finally:
        engine.dispose()


class Announced(uvicorn.Server):
    """Prints the service's address once it answers, and decodes no images when it ends."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
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


class EmbeddedWorker:
    """A worker as a child process: restarted if it crashes, ended when the API ends."""

    def __init__(self, settings: Settings) -> None:
        self._command = [sys.executable, "-m", "app.cli", "worker"]
        self._command += ["--data-dir", str(settings.data_dir), "--parent", str(os.getpid())]
        self._process: subprocess.Popen | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the worker, by force if it takes too long."""
        self._stopped.set()
        self._thread.join()

    def _keep(self) -> None:
        pause = RESTART_SECONDS[0]
        while not self._stopped.is_set():
            began = monotonic()
            self._process = subprocess.Popen(self._command)
            status = self._wait(self._process)
            if self._stopped.is_set() or status == 0:
                return
            if monotonic() - began > RESTART_SECONDS[1]:
                pause = RESTART_SECONDS[0]
            log.warning(
                "the worker ended with status %d; starting another in %.0f s", status, pause
            )
            self._stopped.wait(pause)
            pause = min(2 * pause, RESTART_SECONDS[1])

    def _wait(self, process: subprocess.Popen) -> int:
        """Wait until the worker ends by itself or by `stop`; return its exit status."""
        while process.poll() is None and not self._stopped.wait(0.2):
            continue
        process.terminate()  # does nothing if the process has ended
        try:
            return process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
