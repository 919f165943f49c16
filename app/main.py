"""The composition root: build the whole service from settings as one ASGI application."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from fastapi import Depends, FastAPI, Security
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from app.api import (
    components,
    compositions,
    datasets,
    derivations,
    evaluations,
    meta,
    predictions,
    receipts,
    spaces,
)
from app.api.http import openapi, problems
from app.api.http.deps import storable
from app.api.http.edge import Edge
from app.api.http.upload_slots import UploadSlots
from app.inference.engine import Engine
from app.metrics import Metrics
from app.parts import Parts
from app.receipts import signing
from app.receipts.body import code, environment, installed
from app.settings import BadSettings, Settings
from app.store import counts, folder_identity
from app.store import spaces as stored_spaces
from app.store.blobs import LocalBlobs
from app.store.db import open_engine, session_factory, transaction
from app.store.jobs import Jobs
from app.unlearning import cleanup

ROUTERS = [
    *(datasets.router, components.router, derivations.router, compositions.router),
    *(predictions.router, evaluations.router, receipts.router, spaces.router),
]


@contextmanager
def opened(app: FastAPI, settings: Settings) -> Iterator[None]:
    """Hold the service's parts in `app.state` during the block, with the default space warm."""
    folder_identity.claim(settings)
    state, sql = app.state, open_engine(settings)
    code(), environment()  # files and versions as they are now, not at the first deletion
    list(iter_route_contexts(app.routes))  # builds the routes now, not at their first request
    blobs = LocalBlobs(settings.data_dir / "blobs")
    parts = Parts(
        settings=settings,
        metrics=state.metrics,
        signer=state.signer,
        sessions=session_factory(sql),
        reading=session_factory(sql, read_only=True),
        blobs=blobs,
        jobs=Jobs(settings),
        engine=Engine(settings, blobs, state.metrics),
    )

    def open_default() -> stored_spaces.Opened:
        return parts.engine.open(settings.backbone, settings.scope, ())

    try:
        with transaction(parts.sessions) as session:
            space = stored_spaces.ensure_default(session, open_default)
        cleanup.recover(parts.sessions, parts.jobs, blobs)
        parts.engine.canary(space)
        state.parts = parts
        yield
    finally:
        parts.engine.close()
        parts.jobs.close()
        sql.dispose()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    running = opened(app, app.state.settings)
    await run_in_threadpool(running.__enter__)
    try:
        yield
    finally:
        await run_in_threadpool(running.__exit__, None, None, None)


def _counts(app: FastAPI) -> counts.Counts | None:
    parts: Parts = app.state.parts
    return counts.read(parts.reading, dead_seconds=parts.settings.worker_dead_seconds)


def _signer(settings: Settings) -> signing.Signer | None:
    path = settings.receipt_key_file
    try:
        return None if path is None else signing.signer(path)
    except signing.BadKey as error:
        raise BadSettings(f"TANGENT_RECEIPT_KEY_FILE is {str(path)!r}: {error}") from None


def create_app(settings: Settings) -> FastAPI:
    """Return the whole service; its database must have been migrated before it starts.

    Raises:
        BadSettings: the key that signs receipts cannot be used.
    """
    signer = _signer(settings)
    app = FastAPIOffline(
        title=openapi.TITLE,
        version=installed("tangent-composer"),
        summary="Image classifiers that can be added, weighted and subtracted.",
        description=openapi.DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[{"name": name, "description": text} for name, text in openapi.TAGS],
        generate_unique_id_function=openapi.operation_id,
        lifespan=_lifespan,
    )
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
    app.state.settings, app.state.metrics = settings, Metrics(app.version)
    app.state.signer = signer
    app.state.upload_slots = UploadSlots(settings.max_concurrent_uploads)
    app.state.metrics.register_counts(partial(_counts, app))
    problems.add_handlers(app)
    # For the document only: the key was checked before a route is reached.
    bearer = [Security(HTTPBearer(auto_error=False, description="the key, if the service has one"))]
    for router in ROUTERS:
        app.include_router(router, prefix="/v1", dependencies=[*bearer, Depends(storable)])
    app.include_router(meta.v1, prefix="/v1", dependencies=bearer)
    app.include_router(meta.router)
    app.add_middleware(Edge, settings=settings, metrics=app.state.metrics)
    return app
