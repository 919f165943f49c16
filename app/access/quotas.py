"""Quotas: the most that a key may keep and have queued, counted by the rows that it has made.

    quotas.check(session, max_datasets=1, max_bytes=size)     before the rows are added

The key's row is locked, so of two requests at once the second counts what the first has added.
Take the write lock first where both are taken. A session that only reads locks nothing: it refuses
early what need not be begun.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.access.callers import caller_of
from app.database.tables import (
    ACTIVE,
    ApiKey,
    BatchPrediction,
    Component,
    Composition,
    Dataset,
    Evaluation,
    Space,
)
from app.errors import Forbidden

Used = Callable[[Session, ApiKey], int]


def check(session: Session, **more: int) -> None:
    """Refuse what would put the session's caller over a quota; `more` is how much, by quota.

    Raises:
        Forbidden: `quota_exceeded`, with the `quota`, its `limit` and how much is `used`.
    """
    caller = caller_of(session)
    if caller is not None:
        check_key(session, caller.key_id, **more)


def check_key(session: Session, key_id: str | None, **more: int) -> None:
    """Do the same for the key that has made what now grows; None is one without a row.

    Raises:
        Forbidden: as `check`.
    """
    if key_id is None:
        return
    lock = not session.info["read_only"]
    key = session.get_one(ApiKey, key_id, with_for_update=lock, populate_existing=True)
    for quota, number in more.items():
        used, limit = USED[quota], getattr(key, quota)
        if number and limit is not None:
            _refuse(key, quota, used(session, key), number)


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


def _rows(maker: Any, *conditions: ColumnElement[bool]) -> Used:
    """Return the count of rows whose maker, in this column, is the key."""
    query = select(func.count()).where(*conditions)
    return lambda session, key: session.scalar(query.where(maker == key.id)) or 0


def _sum(maker: Any, size: Any) -> Used:
    query = select(func.coalesce(func.sum(size), 0))
    return lambda session, key: int(session.scalar(query.where(maker == key.id)) or 0)


def _bytes(session: Session, key: ApiKey) -> int:
    parts = (
        (Dataset.created_by, Dataset.pack_bytes),
        (Component.created_by, Component.bytes),
        (BatchPrediction.created_by, BatchPrediction.bytes),
    )
    return sum(_sum(*columns)(session, key) for columns in parts)


USED: Mapping[str, Used] = {
    "max_bytes": _bytes,
    "max_datasets": _rows(Dataset.created_by),
    "max_components": _rows(Component.created_by, Component.automatic.is_(False)),
    "max_queued_trainings": _rows(Component.created_by, Component.status.in_(ACTIVE)),
    "max_spaces": _rows(Space.owner),
    "max_compositions": _rows(Composition.created_by),
    "max_evaluations": _rows(Evaluation.created_by),
    "max_batch_predictions": _rows(BatchPrediction.created_by),
}
