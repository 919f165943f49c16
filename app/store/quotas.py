"""Quotas: the most that a key may keep and have queued, counted by the rows that it has made.

    quotas.check(session, datasets=1, bytes=size)     before the rows are added

The key's row is locked, so of two requests at once the second counts what the first has added.
Take the write lock first where both are taken.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access.callers import caller_of
from app.database.tables import ApiKey, Component, Dataset
from app.errors import Forbidden
from app.store.components import ACTIVE


def check(session: Session, *, datasets: int = 0, bytes: int = 0, trainings: int = 0) -> None:
    """Refuse what would put the session's caller over a quota.

    Raises:
        Forbidden: `quota_exceeded`, with the `quota`, its `limit` and how much is `used`.
    """
    caller = caller_of(session)
    if caller is None or caller.key_id is None:
        return
    key = session.get_one(ApiKey, caller.key_id, with_for_update=True, populate_existing=True)
    if datasets and key.max_datasets is not None:
        _refuse(key, "max_datasets", _datasets(session, key), datasets)
    if bytes and key.max_bytes is not None:
        _refuse(key, "max_bytes", _bytes(session, key), bytes)
    if trainings and key.max_queued_trainings is not None:
        _refuse(key, "max_queued_trainings", _trainings(session, key), trainings)


def _refuse(key: ApiKey, quota: str, used: int, more: int) -> None:
    limit = getattr(key, quota)
    if used + more > limit:
        raise Forbidden(
            "quota_exceeded",
            f"key {key.id} has used {used} of {quota} {limit}, and this request needs {more} more: "
            "delete what is not needed, wait for trainings to end, or ask an administrator",
            quota=quota,
            limit=limit,
            used=used,
        )


def _datasets(session: Session, key: ApiKey) -> int:
    return session.scalar(select(func.count()).where(Dataset.created_by == key.id)) or 0


def _bytes(session: Session, key: ApiKey) -> int:
    packs = select(func.coalesce(func.sum(Dataset.pack_bytes), 0))
    files = select(func.coalesce(func.sum(Component.bytes), 0))
    return int(session.scalar(packs.where(Dataset.created_by == key.id)) or 0) + int(
        session.scalar(files.where(Component.created_by == key.id)) or 0
    )


def _trainings(session: Session, key: ApiKey) -> int:
    mine = Component.created_by == key.id, Component.status.in_(ACTIVE)
    return session.scalar(select(func.count()).where(*mine)) or 0
