"""The service about itself: limits, health, metrics."""

import logging
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse

from app.api.http.deps import EngineDep, MetricsDep, ReadSessionsDep, SettingsDep
from app.schemas.meta import Check, Limits, Live, Ready
from app.store import spaces, workers
from app.store.db import transaction
from app.store.write_lock import deletions_so_far

log = logging.getLogger(__name__)

v1 = APIRouter(tags=["service"])  # below /v1, with the key
router = APIRouter(tags=["service"])  # open


@v1.get("/limits", summary="Show every limit")
async def limits(settings: SettingsDep) -> Limits:
    """What is refused because it is too large or too much."""
    return Limits.model_validate(settings, from_attributes=True)


@router.get("/livez", summary="Whether the process turns")
async def live() -> Live:
    """Asks nothing of the database or the model."""
    return Live(status="ok")


@router.get(
    "/readyz", summary="Whether requests can be answered", responses={503: {"model": Ready}}
)
def ready(
    reading: ReadSessionsDep, engine: EngineDep, settings: SettingsDep, response: Response
) -> Ready:
    """Every check with its reason; 503 if one that answers need has failed.

    A missing worker does not count: predictions are answered, trainings wait.
    """
    checks: dict[str, Check] = {}
    found: dict[str, Any] = {}

    def database() -> str:
        with transaction(reading) as session:
            found["space"] = spaces.get(session, spaces.DEFAULT)
            found["epoch"] = deletions_so_far(session)
            alive = workers.alive(session, dead_seconds=settings.worker_dead_seconds)
            found["workers"] = len(alive)
        return "answers"

    def space() -> str:
        engine.respect(found["epoch"])
        return engine.space(found["space"]).fingerprint

    def forward() -> str:
        engine.canary(found["space"])
        return f"passes on {engine.device}"

    for name, run in (("database", database), ("space", space), ("forward", forward)):
        checks[name] = _check(run, all(check.ok for check in checks.values()))
    good = all(check.ok for check in checks.values())
    response.status_code = 200 if good else 503
    return Ready(
        status="ok" if good else "unavailable",
        checks=checks,
        epoch=found.get("epoch"),
        workers=found.get("workers"),
    )


def _check(run: Callable[[], str], possible: bool) -> Check:
    if not possible:
        return Check(ok=False, detail="not tried, as a check before it failed")
    try:
        return Check(ok=True, detail=run())
    except Exception as error:  # a probe reports whatever is wrong
        log.exception("readiness")
        return Check(ok=False, detail=f"{type(error).__name__}; the service's log says more")


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def measured(metrics: MetricsDep) -> Response:
    """In Prometheus' text format."""
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
