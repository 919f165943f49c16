"""Runs the API and a training worker as one command that ends cleanly."""

import logging
import socket
from collections.abc import Callable

from fastapi import FastAPI
from sqlalchemy import make_url

from app.cli import api_server
from app.cli.listeners import open_listener, print_address
from app.database.sessions import fold_log, open_engine, session_factory, transaction
from app.database.tables import Space
from app.files import folder_identity, folder_lock
from app.files.blobs import LocalBlobs
from app.inference.engines import AnyEngine, opened_engine
from app.inference.models import SpaceKey
from app.main import create_app
from app.server import api_processes
from app.server.embedded_worker import EmbeddedWorker
from app.server.logs import set_up_logs
from app.settings import BadSettings, Settings, remarks
from app.store import spaces
from tangent.errors import TangentError, UnknownDevice

log = logging.getLogger(__name__)


def serve(settings: Settings, *, with_worker: bool) -> int:
    """Serve until SIGTERM or SIGINT, with a worker if wanted; return the exit status.

    Raises:
        BadSettings: the address is in use, the default space cannot be opened, the device or the
            key that signs receipts cannot be used, or the folder belongs to another database.
    """
    set_up_logs(settings, "api")
    app = create_app(settings)
    with folder_lock.shared(settings) as app.state.alone_at:
        folder_identity.claim(settings)  # inside the application an error would be a traceback
        listener = open_listener(settings)
        app.state.engine = _opened_engine(settings)
        default = _default_space(settings, app.state.engine)
        _say(settings, app, default, with_worker=with_worker)
        worker = EmbeddedWorker(settings) if with_worker else None
        try:
            status = _run(app, listener, worker)
        finally:
            fold_log(open_engine(settings))
    api_server.leave(status)
    return status


def _say(settings: Settings, app: FastAPI, default: Space, *, with_worker: bool) -> None:
    """Say in the log what is served and which settings have no effect, a line each."""
    for remark in (*remarks(), *_overridden(settings, default)):
        log.warning("%s", remark)
    log.info("version %s", app.version)
    log.info("data folder %s", settings.data_dir.absolute())
    log.info("database %s", make_url(settings.sql_url).render_as_string(hide_password=True))
    log.info("backbone %s, scope %s", default.backbone, default.scope)
    log.info("device %s, engine %s", app.state.engine.device_name, settings.engine)
    log.info("worker %s", "beside the API" if with_worker else "none here")
    if settings.api_processes > 1:
        log.info("API processes %d", settings.api_processes)


def _run(app: FastAPI, listener: socket.socket, worker: EmbeddedWorker | None) -> int:
    """Run application and worker until a signal to end; return the exit status."""
    if worker is not None:
        worker.start()
        app.state.worker_fault = lambda: worker.fault
    end_worker = worker.request_stop if worker else lambda: None
    try:
        if app.state.settings.api_processes == 1:
            return api_server.run(app, listener, print_address, end_worker)
        return _run_several(app, listener, end_worker)
    finally:
        if worker is not None:
            worker.stop()


def _run_several(app: FastAPI, listener: socket.socket, end_worker: Callable[[], object]) -> int:
    """Run the API in several processes, on the engine that is open here."""
    engine, state = app.state.engine, app.state
    try:
        have_answered = api_processes.run(
            state.settings,
            {
                "engine": engine.address,
                "alone_at": state.alone_at,
                "family": listener.family,
                "address": listener.getsockname(),
            },
            announce=lambda: print_address(listener),
            end=end_worker,
            worker_fault=lambda: getattr(state, "worker_fault", lambda: None)(),
        )
    finally:
        engine.close()
    return 0 if have_answered else 1


def _opened_engine(settings: Settings) -> AnyEngine:
    try:
        return opened_engine(settings, LocalBlobs(settings.data_dir / "blobs"))
    except UnknownDevice as error:
        raise BadSettings(f"TANGENT_DEVICE is {settings.device!r}: {error}") from None
    except RuntimeError as error:
        raise BadSettings(str(error)) from None


def _overridden(settings: Settings, default: Space) -> list[str]:
    """Return a sentence for each setting in whose place the database's own space holds."""
    own = {"backbone": default.backbone, "scope": default.scope}
    return [
        f"TANGENT_{name.upper()} is {given!r}, and has no effect: the default space was made with "
        f"{value!r}, and stays so; POST /v1/spaces makes another space beside it"
        for name, value in own.items()
        if name in settings.model_fields_set and (given := getattr(settings, name)) != value
    ]


def _default_space(settings: Settings, engine: AnyEngine) -> Space:
    """Return the default space, new in a new database; in the app an error would be a traceback."""
    key = SpaceKey(settings.backbone, settings.scope, (), settings.precision)
    database = open_engine(settings)
    try:
        with transaction(session_factory(database)) as session:
            return spaces.ensure_default(session, lambda: engine.open(key))
    except TangentError as error:
        engine.close()
        made_of = f"TANGENT_BACKBONE is {key.backbone!r}, TANGENT_SCOPE {key.scope!r}"
        raise BadSettings(f"the default space cannot be opened ({made_of}): {error}") from None
    finally:
        database.dispose()
