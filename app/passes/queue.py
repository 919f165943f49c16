"""The queue of passes: who computes which one, and the moves of their status.

    queued ⇄ running → ready                 claim, hand_back, publish
       └───────┴─────→ failed                fail
       └───────┴─────→ cancelled             cancel
       any ──────────→ invalidated           by a deletion, see app.unlearning.invalidation

Every move is one conditional UPDATE. A claim raises the row's `attempt`, and whatever its holder
writes afterwards asks for that very number: a process that was stopped, and comes back after
another one has taken its pass over, changes nothing.

A pass is taken over if its holder's process has no row any more (app.inference.lease), or has not
beaten while the one who looks has waited for long enough by its own clock. No two clocks are
compared, and a mistake costs work only.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Table, case, false, func, select, update
from sqlalchemy.orm import Session

from app.access import callers
from app.database import pass_tables
from app.database.row_checksums import is_intact
from app.database.sessions import affected
from app.database.tables import AnsweringProcess, BatchPrediction, Dataset, Evaluation, now
from app.errors import Conflict, TooManyRequests

ACTIVE = pass_tables.ACTIVE
INVALIDATED = "invalidated"  # the status of a pass whose results went with what they were made of
UNAVAILABLE = "unavailable_components"  # of a selection; those of before have none
RETRY_SECONDS = 30

Pass = Evaluation | BatchPrediction
KINDS: Mapping[str, type[Pass]] = MappingProxyType(
    {"evaluation": Evaluation, "batch_prediction": BatchPrediction}
)


class Held(NamedTuple):
    """One attempt at computing one pass."""

    kind: str
    id: str
    attempt: int


class Waiting(NamedTuple):
    """A pass that is queued or running, as it was seen."""

    kind: str
    id: str
    status: str
    attempt: int
    beats: int
    holder: str | None
    total: int
    is_orphan: bool  # it runs, and its holder's process has no row

    @property
    def age(self) -> str:
        """Return what sorts passes of all kinds by their age."""
        return self.id.partition("_")[2]


def waiting(session: Session) -> list[Waiting]:
    """Return all passes that have not ended, oldest first; a damaged row is nobody's work."""
    living = set(session.scalars(select(AnsweringProcess.id)))
    found = []
    for kind, table in KINDS.items():
        columns = table.id, table.status, table.attempt, table.beats, table.holder, table.total
        for row in session.execute(select(*columns).where(_is_active(table))):
            process = (row.holder or "").partition("/")[0]
            is_orphan = row.status == "running" and process not in living
            found.append(Waiting(kind, *row, is_orphan))
    return sorted(found, key=lambda each: each.age)


def is_seen(session: Session, row: Pass) -> bool:
    """Return whether the caller may see the selection's space, and the dataset.

    What a pass shows names images of its dataset, and their labels. Once the dataset was deleted,
    nothing says who saw it, and its passes are seen by those who made them, and administrators.
    """
    if not callers.sees(session, row.space):
        return False
    if row.dataset_id is None:
        is_of_archive = isinstance(row, BatchPrediction) and row.archive is not None
        return is_of_archive or callers.has_made(session, row.created_by)
    dataset = session.get(Dataset, row.dataset_id)
    return dataset is None or callers.sees(session, dataset.space)


def check_room(session: Session, most: int) -> None:
    """Refuse another pass while as many wait or run as may.

    Raises:
        TooManyRequests: `queue_full`.
    """
    counts = (
        session.scalar(select(func.count()).where(_is_active(table))) for table in KINDS.values()
    )
    number = sum(count or 0 for count in counts)
    if number >= most:
        raise TooManyRequests(
            "queue_full",
            f"{number} evaluations and batch predictions wait or run, the most are {most}: "
            "send the request again when some have ended",
            retry_after=RETRY_SECONDS,
        )


def claim(session: Session, seen: Waiting, holder: str) -> Held | None:
    """Begin an attempt at a pass that is still as it was seen; None if it is not."""
    table = KINDS[seen.kind]
    same = table.attempt == seen.attempt, table.beats == seen.beats, table.status == seen.status
    columns: dict[str, Any] = {
        "status": "running",
        "attempt": seen.attempt + 1,
        "holder": holder,
        "started_at": now(),
        "done": 0,
        # An end without a word may have been the pass's own doing.
        "lost": table.lost + int(seen.status == "running" and seen.holder != holder),
    }
    moved = _change(session, seen.kind, seen.id, *same, **columns)
    return Held(seen.kind, seen.id, seen.attempt + 1) if moved else None


def lost(session: Session, held: Held) -> int:
    """Return how many attempts at the pass have ended without a word."""
    table = KINDS[held.kind]
    return session.scalar(select(table.lost).where(table.id == held.id)) or 0


def beat(session: Session, held: Held, done: int) -> bool:
    """Note that the attempt goes on, and how far; False if it has ended, whoever has ended it."""
    table = KINDS[held.kind]
    return _change(session, *held[:2], *_is_held(held), beats=table.beats + 1, done=done)


def holds(session: Session, held: Held) -> bool:
    """Return whether the attempt goes on: not cancelled, invalidated, deleted or taken over."""
    table = KINDS[held.kind]
    query = select(table.id).where(table.id == held.id, *_is_held(held))
    return session.scalar(query) is not None


def hand_back(session: Session, held: Held) -> bool:
    """Queue the pass again, for whoever comes first; False if the attempt has ended."""
    columns: dict[str, Any] = {"status": "queued", "holder": None, "started_at": None, "done": 0}
    return _change(session, *held[:2], *_is_held(held), **columns)


def publish(session: Session, held: Held, **columns: Any) -> bool:
    """Make the pass ready with what it was computed to; False if the attempt has ended.

    Hold the write lock: a deletion either sees the pass ready, or has ended the attempt.
    """
    table = KINDS[held.kind]
    given = columns | {"status": "ready", "done": table.total} | _ended()
    return _change(session, *held[:2], *_is_held(held), **given)


def fail(session: Session, held: Held, code: str, detail: str) -> bool:
    """End the pass with an error for the client; False if the attempt has ended."""
    error = {"code": code, "detail": detail}
    return _change(session, *held[:2], *_is_held(held), status="failed", error=error, **_ended())


def fail_of_dataset(session: Session, dataset_id: str, code: str, detail: str) -> None:
    """End all passes over the dataset's images with an error; whoever computes one notices."""
    ended = {"status": "failed", "error": {"code": code, "detail": detail}} | _ended()
    for table in KINDS.values():
        mine = table.dataset_id == dataset_id, table.status.in_(ACTIVE)
        affected(session, update(table).where(*mine).values(ended))


def cancel(session: Session, row: Pass) -> None:
    """End the pass; whoever computes it stops within seconds.

    Raises:
        Conflict: `evaluation_finished` or `batch_prediction_finished`.
        DamagedRow: an UPDATE leaves the row alone.
    """
    kind = next(kind for kind, table in KINDS.items() if isinstance(row, table))
    active = KINDS[kind].status.in_(ACTIVE)
    moved = _change(session, kind, row.id, active, status="cancelled", **_ended())
    session.refresh(row)
    if not moved:
        raise Conflict(
            f"{kind}_finished",
            f"{kind.replace('_', ' ')} {row.id} is {row.status} already: there is nothing to "
            "cancel",
        )


def used_by(selection: Mapping[str, Any], model: Mapping[str, Any]) -> Collection[str]:
    """Return the ids of all components that a pass is computed with."""
    return {part["id"] for part in (*selection["components"], *model["parts"])}


def members_of(row: Pass) -> dict[str, bool]:
    """Return the components of a new pass by id, with whether its result is made with them."""
    missed = {part["id"]: False for part in row.selection[UNAVAILABLE]}
    return missed | dict.fromkeys(sorted(used_by(row.selection, row.model or {})), True)


def _is_active(table: type[Pass]) -> ColumnElement[bool]:
    """Return the condition of an intact row that has not ended; no other costs a checksum."""
    intact = is_intact(cast(Table, table.__table__))
    return case((table.status.in_(ACTIVE), intact), else_=false())


def _is_held(held: Held) -> tuple[ColumnElement[bool], ...]:
    table = KINDS[held.kind]
    return table.status == "running", table.attempt == held.attempt


def _ended() -> dict[str, Any]:
    return {"finished_at": now(), "holder": None, "model": None}


def _change(
    session: Session, kind: str, id_: str, *conditions: ColumnElement[bool], **columns: Any
) -> bool:
    table = KINDS[kind]
    changed = update(table).where(table.id == id_, *conditions).values(columns)
    return affected(session, changed) == 1
