"""The service about itself: limits, health, metrics."""

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse

from app.api.http.deps import PartsDep
from app.api.http.scopes import ScopedRoute
from app.operations import health
from tangent_composer.schemas.meta import Check, Limits, Live, Ready

v1 = APIRouter(tags=["service"], route_class=ScopedRoute)  # below /v1, with the key
router = APIRouter(tags=["service"])  # open


@v1.get("/limits", summary="Show every limit")
async def limits(parts: PartsDep) -> Limits:
    """Shows the bounds above which requests are refused."""
    return Limits.model_validate(parts.settings, from_attributes=True)


@router.get("/livez", summary="Whether the process turns")
async def live() -> Live:
    """Answers without the database and the model."""
    return Live(status="ok")


@router.get(
    "/readyz", summary="Whether requests can be answered", responses={503: {"model": Ready}}
)
async def ready(request: Request, parts: PartsDep, response: Response) -> Ready:
    """Shows every check with its reason; 503 if a check that answers depend on has failed.

    A missing worker does not count: predictions are answered, trainings wait. Where only some
    spaces answer, the status is degraded, with 200; where none does, a roll-out stops here.
    """
    state, checks = request.app.state, dict[str, Check]()
    fault = getattr(state, "worker_fault", None)  # where the worker runs beside the API
    with anyio.move_on_after(health.MAX_SECONDS):
        # In threads of its own: those of requests may all be waiting for something.
        shown = await anyio.to_thread.run_sync(
            health.check_health,
            parts,
            checks,
            fault and fault(),
            abandon_on_cancel=True,
            limiter=state.threads.health,
        )
        response.status_code = 503 if shown.status == "unavailable" else 200
        return shown
    response.status_code = 503
    return health.late(parts, checks, health.MAX_SECONDS)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def measured(request: Request, parts: PartsDep) -> Response:
    """Shows all metrics in Prometheus' text format."""
    limiter = request.app.state.threads.health
    text = await anyio.to_thread.run_sync(parts.metrics.text, limiter=limiter)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
