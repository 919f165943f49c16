"""Health checks: whether this process can answer predictions, and if not, why."""

import logging
from collections.abc import Callable
from typing import Any

from app.parts import Parts
from app.schemas.meta import Check, Ready
from app.store import spaces, workers
from app.store.counts import deletions_so_far
from app.store.db import transaction

log = logging.getLogger(__name__)


def check_health(parts: Parts) -> Ready:
    """Run every check in turn; after a failed check the others are not tried."""
    seen: dict[str, Any] = {}
    checks: dict[str, Check] = {}

    def database() -> str:
        with transaction(parts.reading) as session:
            seen["space"] = spaces.get(session, spaces.DEFAULT)
            seen["epoch"] = deletions_so_far(session)
            dead_seconds = parts.settings.worker_dead_seconds
            seen["workers"] = len(workers.alive(session, dead_seconds=dead_seconds))
        return "answers"

    def space() -> str:
        parts.engine.respect(seen["epoch"])
        return parts.engine.space(seen["space"]).fingerprint

    def forward() -> str:
        parts.engine.canary(seen["space"])
        return f"passes on {parts.engine.device}"

    for name, run in (("database", database), ("space", space), ("forward", forward)):
        checks[name] = _check(run, all(check.ok for check in checks.values()))
    good = all(check.ok for check in checks.values())
    return Ready(
        status="ok" if good else "unavailable",
        checks=checks,
        epoch=seen.get("epoch"),
        workers=seen.get("workers"),
    )


def _check(run: Callable[[], str], possible: bool) -> Check:
    if not possible:
        return Check(ok=False, detail="not tried, as a check before it failed")
    try:
        return Check(ok=True, detail=run())
    except Exception as error:  # whatever is wrong, the answer is that the check failed
        log.exception("readiness")
        return Check(ok=False, detail=f"{type(error).__name__}; the service's log says more")
