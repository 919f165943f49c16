"""Counts of the service's resources for its metrics: no id, no name and no label."""

import logging
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, case, extract, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.database.ledger_order import receipts_so_far
from app.database.pass_tables import STATUSES
from app.database.sessions import transaction
from app.database.tables import (
    BatchPrediction,
    Component,
    ComponentEvent,
    Dataset,
    Evaluation,
    now,
)
from app.store import components, scrub_turns, workers
from app.store.members import is_damaged

log = logging.getLogger(__name__)

BOUNDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)  # seconds of a training


@dataclass(frozen=True)
class Trainings:
    """The ended trainings of one outcome, by the time that their last attempt took."""

    within: dict[float, int] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0))
    count: int = 0
    seconds: float = 0.0  # the sum over all of them


@dataclass(frozen=True)
class Counts:
    """The counts of one moment."""

    components: dict[str, int]  # status -> how many
    component_bytes: int
    trainings: dict[str, Trainings]  # outcome -> its trainings
    queued_seconds: float  # wait of the component that has waited longest
    datasets: int
    images: int
    receipts: int
    workers: int  # with a recent sign of life
    damaged: dict[str, int] = field(default_factory=dict)  # kind -> how many are known to be so
    passes: dict[tuple[str, str], int] = field(default_factory=dict)  # kind, status -> how many
    scrubbed_at: float = 0.0  # the end of the last whole scrub, in seconds of Unix; 0: never


def read(sessions: sessionmaker[Session], *, dead_seconds: float) -> Counts | None:
    """Return the present counts; None if the database does not answer."""
    try:
        with transaction(sessions) as session:
            return _read(session, dead_seconds)
    except SQLAlchemyError as error:
        log.warning("the database does not answer, so the metrics lack its counts: %s", error)
        return None


def deletions_so_far(session: Session) -> int:
    """Return the number of the last receipt, which grows with every deletion in any process."""
    return session.scalar(select(receipts_so_far())) or 0


def damaged(session: Session) -> dict[str, int]:
    """Return how many components' files, datasets' images and rows are known to be damaged."""
    files = session.scalar(select(func.count()).where(is_damaged()))
    images = session.scalar(select(func.coalesce(func.sum(Dataset.damaged_images), 0)))
    rows = scrub_turns.damaged_rows(session)
    return {"components": int(files or 0), "images": int(images or 0), "rows": rows}


def _read(session: Session, dead_seconds: float) -> Counts:
    size = func.coalesce(func.sum(Component.bytes), 0)
    by_status = select(Component.status, func.count(), size).where(components.current())
    counts, component_bytes = dict.fromkeys(components.STATUSES, 0), 0
    for status, count, stored in session.execute(by_status.group_by(Component.status)):
        counts[status] = count
        component_bytes += int(stored or 0)
    held = select(func.count(), func.coalesce(func.sum(Dataset.num_images), 0))
    datasets, images = session.execute(held.select_from(Dataset)).one()
    scrubbed = scrub_turns.finished_at(session)
    return Counts(
        components=counts,
        component_bytes=component_bytes,
        trainings=_trainings(session),
        queued_seconds=_queued_seconds(session),
        datasets=datasets,
        images=int(images or 0),
        receipts=deletions_so_far(session),
        workers=len(workers.alive(session, dead_seconds=dead_seconds)),
        damaged=damaged(session),
        passes=_passes(session),
        scrubbed_at=0.0 if scrubbed is None else scrubbed.timestamp(),
    )


def _passes(session: Session) -> dict[tuple[str, str], int]:
    """Return the number of evaluations and batch predictions by kind and status."""
    counts: dict[tuple[str, str], int] = {}
    for table in (Evaluation, BatchPrediction):
        kind = table.__tablename__
        counts |= dict.fromkeys(((kind, status) for status in STATUSES), 0)
        by_status = select(table.status, func.count()).group_by(table.status)
        counts |= {(kind, status): number for status, number in session.execute(by_status)}
    return counts


def _queued_seconds(session: Session) -> float:
    queued = Component.status == "queued"
    first = select(func.min(Component.created_at)).where(queued, Component.generation == 0)
    again = (  # a requeued component waits since the change of its data
        select(func.min(ComponentEvent.created_at))
        .join(Component, Component.id == ComponentEvent.component_id)
        .where(queued, Component.generation > 0)
    )
    found = [since for query in (first, again) if (since := session.scalar(query)) is not None]
    return max(0.0, (now() - min(found)).total_seconds()) if found else 0.0


def _trainings(session: Session) -> dict[str, Trainings]:
    """Return ended trainings by outcome, counted by the database, as there may be many."""
    seconds = _seconds(session)
    counts = (func.sum(case((seconds <= bound, 1), else_=0)) for bound in BOUNDS)
    query = (
        select(Component.status, func.count(), func.sum(seconds), *counts)
        .where(Component.status.in_(components.TERMINAL), Component.started_at.is_not(None))
        .group_by(Component.status)
    )
    found = dict.fromkeys(components.TERMINAL, Trainings())
    for outcome, count, total, *within in session.execute(query):
        numbers = (int(each) for each in within)
        found[outcome] = Trainings(dict(zip(BOUNDS, numbers, strict=True)), count, float(total))
    return found


def _seconds(session: Session) -> ColumnElement[Any]:
    """The time from a training's last start to its end."""
    began, ended = Component.started_at, Component.finished_at
    if session.get_bind().dialect.name == "sqlite":
        return (func.julianday(ended) - func.julianday(began)) * 86400.0
    return extract("epoch", ended - began)
