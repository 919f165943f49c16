"""The composition root: build the whole service from settings as one ASGI application."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute

from app import parts
from app.api import (
    audit,
    batch_predictions,
    component_imports,
    components,
    compositions,
    dataset_images,
    datasets,
    derivations,
    evaluations,
    images,
    inference_protocol,
    keys,
    label_reports,
    meta,
    page,
    predictions,
    privacy,
    receipts,
    session,
    spaces,
)
from app.api.http import documentation, openapi, problems
from app.api.http.application import Application
from app.api.http.deps import storable
from app.api.http.edge import Edge
from app.api.http.event_streams import EventStreams
from app.api.http.scopes import checked
from app.api.http.thread_pools import ThreadPools
from app.api.http.upload_slots import UploadSlots
from app.database.sessions import transaction
from app.database.tables import Space
from app.files import folder_identity, folder_lock
from app.operations import pass_runner
from app.operations.space_probing import probing
from app.operations.training import with_news
from app.receipts import signing
from app.receipts.body import code, environment, installed
from app.server.metrics import Metrics
from app.server.tracing import tracing_of
from app.settings import Settings
from app.store import counts, damage
from app.store import spaces as stored_spaces
from app.unlearning import cleanup

log = logging.getLogger(__name__)

ROUTERS = [
    *(datasets.uploads, dataset_images.uploads, datasets.router, dataset_images.router),
    *(label_reports.router, components.router, component_imports.router, derivations.router),
    *(compositions.router, predictions.router, evaluations.router, receipts.router, spaces.router),
    *(batch_predictions.router, images.router, keys.router, audit.router, privacy.router),
]


@contextmanager
def opened(app: FastAPI, settings: Settings) -> Iterator[None]:
    """Hold the service's parts in `app.state` during the block; warm the default space."""
    state = app.state
    code(), environment()  # files and versions as they are now, not at the first deletion
    list(iter_route_contexts(app.routes))  # builds the routes now, not at their first request
    with folder_lock.shared(settings) as alone_at:
        folder_identity.claim(settings)
        with parts.opened(settings, state.metrics, state.signer, state.engine) as made:

            def open_default() -> stored_spaces.Opened:
                return made.spaces.open(settings.backbone, settings.scope, ())

            with transaction(made.sessions) as session:
                space = stored_spaces.ensure_default(session, open_default)
            cleanup.recover(
                *(made.sessions, made.jobs, made.blobs), alone_at=state.alone_at or alone_at
            )
            damage.mend(made.sessions, made.blobs)
            _warm(made, space)
            state.parts, state.end = made, made.passes.end
            with made.lease.kept(), pass_runner.running(made), probing(made):
                yield


def _warm(made: parts.Parts, default: Space) -> None:
    """Pass an image through the default space; without it, all but its answers are served."""
    try:
        made.engine.canary(made.spaces.key(default))
    except stored_spaces.SpaceUnavailable:
        pass  # the log has the reason already
    except Exception:
        log.exception("no image passes through the default space: /readyz will tell of it")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    running = opened(app, app.state.settings)
    await run_in_threadpool(running.__enter__)
    try:
        yield
    finally:
        await run_in_threadpool(running.__exit__, None, None, None)
        if app.state.tracing is not None:
            await run_in_threadpool(app.state.tracing.close)


def _counts(app: FastAPI) -> counts.Counts | None:
    held: parts.Parts = app.state.parts
    return counts.read(held.reading, dead_seconds=held.settings.worker_dead_seconds)


def _set_bounds(app: FastAPI, share: Settings) -> None:
    """Make what bounds the requests that this process answers at a time."""
    app.state.threads = ThreadPools(share)
    app.state.upload_slots = UploadSlots(share.max_concurrent_uploads)
    app.state.event_streams = EventStreams(
        share.max_event_streams, lambda seen: with_news(app.state.parts, seen)
    )


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Return all routes, those of the API below /v1 with the dependency that all of them have.

    They know nothing of an application; building them takes most of the time of its start, so
    those of one process share them.
    """
    all_of_them = APIRouter(generate_unique_id_function=openapi.operation_id)
    for router in ROUTERS:
        all_of_them.include_router(checked(router), prefix="/v1", dependencies=[Depends(storable)])
    all_of_them.include_router(checked(meta.v1), prefix="/v1", dependencies=[Depends(storable)])
    all_of_them.include_router(checked(inference_protocol.router), dependencies=[Depends(storable)])
    for router in (inference_protocol.open_router, meta.router, session.router, page.router):
        all_of_them.include_router(router)
    return tuple(all_of_them.routes)


def create_app(settings: Settings, shared_metrics: Path | None = None) -> FastAPI:
    """Return the whole service; its database must have been migrated before it starts.

    `shared_metrics` is as for `Metrics`.

    Raises:
        BadSettings: the key that signs receipts cannot be used, or OpenTelemetry is missing.
    """
    signer = signing.signer_of(settings)
    app = Application(
        title=openapi.TITLE,
        version=installed("tangent-composer"),
        summary="Image classifiers that can be added, weighted and subtracted.",
        description=openapi.DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[{"name": name, "description": text} for name, text in openapi.TAGS],
        generate_unique_id_function=openapi.operation_id,
        lifespan=_lifespan,
        docs_url=None,  # app.api.http.documentation has it
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # app.server.tracing has it
        redirect_slashes=False,  # a redirect's address would come from what the client says
    )
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
    app.state.settings, app.state.metrics = settings, Metrics(app.version, shared_metrics)
    app.state.signer, app.state.alone_at, app.state.engine = signer, None, None
    app.state.end = lambda: None  # what begins to end at the signal, before the requests have
    _set_bounds(app, settings.share)
    app.state.metrics.register_counts(partial(_counts, app))
    problems.add_handlers(app)
    documentation.add_pages(app)
    app.router.routes.extend(_routes())
    direct = {("POST", "/v1/predictions"): predictions.DIRECT}
    app.state.tracing = tracing_of(settings, app.version)
    edge = {"settings": settings, "metrics": app.state.metrics, "tracing": app.state.tracing}
    app.put_behind(partial(Edge, direct=direct, **edge))
    return app
