"""Health checks: whether this process can answer predictions, and if not, why."""

import logging
from collections.abc import Callable
from typing import Any, Literal

from app.database import outages
from app.database.sessions import transaction
from app.errors import NotReady
from app.parts import Parts
from app.store import scrub_turns, spaces, workers
from app.store.counts import damaged, deletions_so_far
from app.store.spaces import SpaceUnavailable
from tangent_composer.schemas.meta import Check, Ready

NAMES = ("database", "space", "forward")  # of the checks, in order
MAX_SECONDS = 5.0  # for all checks together
MAX_SPACES, MAX_TRIED = 1000, 8  # looked at, and opened, for one that answers

log = logging.getLogger(__name__)


def check_health(parts: Parts, checks: dict[str, Check], worker_fault: str | None = None) -> Ready:
    """Run every check in turn, into `checks`; after a failed check the others are not tried.

    `worker_fault` is why the worker beside this process does not run, if it does not.
    """
    seen: dict[str, Any] = {}

    def database() -> str:
        with transaction(parts.health) as session:
            seen["space"] = spaces.get(session, spaces.DEFAULT)
            seen["epoch"] = deletions_so_far(session)
            seen["damaged"] = damaged(session)
            seen["scrubbed_at"] = scrub_turns.finished_at(session)
            dead_seconds = parts.settings.worker_dead_seconds
            seen["workers"] = len(workers.alive(session, dead_seconds=dead_seconds))
            for name in spaces.gone(session, parts.spaces.faulty()):  # by another process
                parts.spaces.forget(name)
        return "answers"

    def space() -> str:
        parts.engine.respect(seen["epoch"])
        return parts.spaces.of(seen["space"]).fingerprint

    def forward() -> str:
        parts.engine.canary(parts.spaces.key(seen["space"]))
        return f"passes on {parts.engine.device_name}"

    for name, run in zip(NAMES, (database, space, forward), strict=True):
        checks[name] = _check(run, all(check.ok for check in checks.values()))
    return Ready(
        status=_status(parts, checks),
        checks=checks,
        spaces_unavailable=parts.spaces.count_unavailable(),
        epoch=seen.get("epoch"),
        workers=seen.get("workers"),
        workers_missing=_missing(seen.get("workers"), worker_fault),
        damaged=seen.get("damaged"),
        scrubbed_at=seen.get("scrubbed_at"),
    )


def late(parts: Parts, checks: dict[str, Check], seconds: float) -> Ready:
    """Return the answer where the checks took too long: the one that is missing did."""
    known = {name: check for name in NAMES if (check := checks.get(name)) is not None}
    waiting = next((name for name in NAMES if name not in known), NAMES[-1])
    known[waiting] = Check(ok=False, detail=f"no answer within {seconds:g} s")
    for name in NAMES:
        known.setdefault(name, Check(ok=False, detail="not tried, as a check before it failed"))
    return Ready(
        status="unavailable",
        checks=known,
        spaces_unavailable=parts.spaces.count_unavailable(),
        epoch=None,
        workers=None,
        workers_missing=None,
        damaged=None,
        scrubbed_at=None,
    )


def _missing(workers: int | None, fault: str | None) -> str | None:
    if workers != 0:
        return None
    return f"none: {fault or 'no worker gives a sign of life'}; trainings wait until one runs"


def _status(parts: Parts, checks: dict[str, Check]) -> Literal["ok", "degraded", "unavailable"]:
    if all(check.ok for check in checks.values()):
        return "degraded" if parts.spaces.count_unavailable() else "ok"
    if not checks["database"].ok or checks["space"].ok:
        return "unavailable"
    return "degraded" if _another_answers(parts) else "unavailable"


def _another_answers(parts: Parts) -> bool:
    """Return whether a space besides the default one answers; those that have opened come first."""
    with transaction(parts.reading) as session:
        rows = spaces.list_(session, after=None, limit=MAX_SPACES)
    others = [row for row in rows if row.name != spaces.DEFAULT]
    others.sort(key=lambda row: parts.spaces.status(row) != "ready")
    for row in others[:MAX_TRIED]:
        try:
            parts.engine.canary(parts.spaces.key(row))
            return True
        except Exception as error:  # whatever is wrong, this space does not answer
            log.debug("space %r does not answer: %s", row.name, error)
    return False


def _check(run: Callable[[], str], possible: bool) -> Check:
    if not possible:
        return Check(ok=False, detail="not tried, as a check before it failed")
    try:
        return Check(ok=True, detail=run())
    except SpaceUnavailable as error:  # the log has the reason, once
        return Check(ok=False, detail=f"{error.code}; GET /v1/spaces has the reason")
    except NotReady as error:  # as the engine while it is started again, of which the log has told
        return Check(ok=False, detail=f"{error.code}: {error.detail}")
    except Exception as error:  # whatever is wrong, the answer is that the check failed
        if (outage := outages.problem_of(error)) is None:
            log.exception("readiness")
        else:  # which lasts for many checks
            log.warning("readiness: %s: %s", outage.code, str(error).partition("\n")[0])
        return Check(ok=False, detail=f"{type(error).__name__}; the service's log says more")
