"""Changed spaces: found by opening every space as the service does, and trained again by name.

for row, fault in examine(settings): …      reads only, also while the service runs
retrain(settings, "default")                one transaction; the workers do the rest
"""

from collections.abc import Iterator
from typing import Any

import tangent
from app.database import migrate
from app.database.audit import by_command, name_hash
from app.database.jobs import Jobs
from app.database.sessions import open_engine, session_factory, transaction, with_info
from app.database.tables import Space
from app.errors import NotFound
from app.files import folder_identity, folder_lock
from app.files.blobs import LocalBlobs
from app.settings import BadSettings, Settings
from app.store import spaces
from app.store.retraining import Retraining, retrain_space
from app.store.spaces import SpaceUnavailable
from tangent.errors import TangentError

MAX_SPACES = 10_000


def examine(settings: Settings) -> Iterator[tuple[Space, SpaceUnavailable | None]]:
    """Yield every space, with the reason if it does not open as its row says."""
    _check(settings)
    engine = open_engine(settings)
    try:
        with transaction(session_factory(engine, read_only=True)) as session:
            rows = spaces.list_(session, after=None, limit=MAX_SPACES)
    finally:
        engine.dispose()
    for row in rows:
        try:
            spaces.open_row(row, lambda row=row: _opened(settings, row))  # type: ignore[misc]
            yield row, None
        except SpaceUnavailable as fault:
            yield row, fault


def retrain(settings: Settings, name: str) -> Retraining:
    """Take the space as it opens now, and queue its components to train again.

    Raises:
        BadSettings: there is no such space, its backbone does not open, or the folder is being
            moved or restored.
    """
    _check(settings)  # before the lock, which makes a folder
    with folder_lock.shared(settings):
        _check(settings)
        return _retrained(settings, name)


def _retrained(settings: Settings, name: str) -> Retraining:
    blobs, jobs = LocalBlobs(settings.data_dir / "blobs"), Jobs(settings)
    engine = open_engine(settings)
    act = by_command("tangent spaces retrain", name_hash("space", name))
    sessions = with_info(session_factory(engine), act=act)
    try:
        with transaction(session_factory(engine, read_only=True)) as session:
            row = spaces.get(session, name)
        facts = spaces.facts(_opened(settings, row))
        with transaction(sessions) as session:
            done = retrain_space(session, jobs, blobs, name, facts)
        for job_id in done.jobs:
            jobs.stop(job_id)
        return done
    except NotFound as error:
        raise BadSettings(error.detail) from None
    except TangentError as error:
        raise BadSettings(f"space {name!r} cannot be opened: {error}") from None
    finally:
        jobs.close()
        engine.dispose()


def _check(settings: Settings) -> None:
    migrate.check_schema(settings)
    folder_identity.check(settings)


def _opened(settings: Settings, row: Space) -> tangent.Space:
    how: dict[str, Any] = {"device": settings.device, "fingerprint": row.fingerprint}
    declared, tf32 = tuple(row.declared_labels), settings.tf32 == "on"
    return tangent.open_space(row.backbone, row.scope, declared, tf32=tf32, **how)
