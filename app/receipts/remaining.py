"""What remained beside a deletion: the components of a space, and their files as they lie on disk.

    remains.of(session, space, before=receipt.created_at)     rows
    remains.check(reading, blobs, spaces, before=…)           files against rows

A refinement that the service has made by itself is none of them: the service replaces it when
another one is wanted, see app.store.refinements, and no receipt tells of that.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, false, func, not_, select
from sqlalchemy.orm import Session, sessionmaker

from app.store.blobs import BlobMissing, LocalBlobs
from app.store.db import transaction
from app.store.tables import Component

MOST_BYTES = 4 * 2**30  # of files that one check reads: some seconds of hashing


@dataclass(frozen=True)
class Files:
    """What reading the files has found."""

    damaged: int  # missing, or with other bytes than their rows say
    checked: int
    left_out: int  # beyond MOST_BYTES

    @property
    def ok(self) -> bool | None:
        """False if one is damaged; None if none of those read is, and some were not read."""
        if self.damaged:
            return False
        return None if self.left_out else True


def of(session: Session, space: str, *, before: datetime | None = None) -> list[Component]:
    """The space's ready components by id; `before`: those that were ready by then."""
    query = select(Component).where(*those(space, before)).order_by(Component.id)
    return list(session.scalars(query))


def those(space: str, before: datetime | None) -> list[ColumnElement[bool]]:
    """The conditions of a component that `of` has."""
    automatic = func.coalesce(Component.derived["automatic"].as_boolean(), false())
    found = [Component.space == space, Component.status == "ready", not_(automatic)]
    return found if before is None else [*found, Component.finished_at < before]


def check(
    reading: sessionmaker[Session],
    blobs: LocalBlobs,
    spaces: Collection[str],
    *,
    before: datetime,
    most_bytes: int = MOST_BYTES,
) -> Files:
    """Read the files of the spaces' components that were ready by then, the smallest first.

    No transaction is open while a file is read, so one that was deleted in between is no damage.
    """
    with transaction(reading) as session:
        rows = [row for space in sorted(spaces) for row in of(session, space, before=before)]
    rows.sort(key=lambda row: (row.bytes or 0, row.id))
    chosen = list(_within(rows, most_bytes))
    damaged = sum(not _sound(reading, blobs, row) for row in chosen)
    return Files(damaged, len(chosen), len(rows) - len(chosen))


def _within(rows: Iterable[Component], most_bytes: int) -> Iterable[Component]:
    size = 0
    for row in rows:
        size += row.bytes or 0
        if size > most_bytes:
            return
        yield row


def _sound(reading: sessionmaker[Session], blobs: LocalBlobs, row: Component) -> bool:
    if _sha256(blobs, row) == row.sha256:
        return True
    with transaction(reading) as session:
        left = session.get(Component, row.id)
        return left is None or (left.blob_key, left.sha256) != (row.blob_key, row.sha256)


def _sha256(blobs: LocalBlobs, row: Component) -> str | None:
    try:
        with blobs.path(row.blob_key or "").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (BlobMissing, OSError):
        return None
