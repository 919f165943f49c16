"""The remaining components of a space: their rows, one hash over them, and their files.

    snapshot(session, space)                         before and after a deletion
    check_files(reading, blobs, spaces, before=…)    files against rows, later

A refinement that the service has made by itself is not among them: the service replaces it when it
needs another one, see app.store.refinements, and no receipt mentions that.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, not_, select
from sqlalchemy.orm import Session, sessionmaker

from app.database.sessions import transaction
from app.database.tables import Component, Space
from app.files import component_files
from app.files.blobs import LocalBlobs
from tangent_composer.canonical_json import canonical

MAX_BYTES = 4 * 2**30  # of files that one check reads: some seconds of hashing


@dataclass(frozen=True)
class Snapshot:
    """Labels and remaining components of a space at one moment of a transaction."""

    space: str
    labels: frozenset[str]
    manifest: str
    components: int


@dataclass(frozen=True)
class FileCheck:
    """The outcome of reading the remaining components' files."""

    damaged: int  # missing, or with other bytes than their rows say
    checked: int
    left_out: int  # beyond MAX_BYTES

    @property
    def ok(self) -> bool | None:
        """False if any file is damaged; None if some were skipped and all others are intact."""
        if self.damaged:
            return False
        return None if self.left_out else True


def snapshot(session: Session, space: str) -> Snapshot:
    """Return the space's labels, as `spaces.labels`, and the manifest of its components.

    A space that was deleted has neither.
    """
    declared = select(Space.declared_labels).where(Space.name == space)
    ready = select(Component.labels, Component.sha256, Component.automatic).where(
        Component.space == space, Component.status == "ready"
    )
    rows = session.execute(ready).all()
    own: list[str] = session.scalars(declared).one_or_none() or []
    labels = frozenset(own).union(*(row.labels for row in rows))
    return Snapshot(space, labels, *manifest_of(row.sha256 for row in rows if not row.automatic))


def manifest(session: Session, space: str, *, before: int | None = None) -> tuple[str, int]:
    """Return one hash over the remaining components, and their number.

    With `before`, a receipt's number, over those that were ready when this receipt was made.
    """
    return manifest_of(session.scalars(select(Component.sha256).where(*_conditions(space, before))))


def manifest_of(shas: Iterable[str | None]) -> tuple[str, int]:
    """Return the SHA-256 of the canonical JSON list of sorted component hashes, and its length."""
    ordered = sorted(sha or "" for sha in shas)
    return hashlib.sha256(canonical(ordered)).hexdigest(), len(ordered)


def components(session: Session, space: str, *, before: int | None = None) -> list[Component]:
    """Return the space's ready components by id, with `before` those from before this receipt."""
    query = select(Component).where(*_conditions(space, before)).order_by(Component.id)
    return list(session.scalars(query))


def _conditions(space: str, before: int | None) -> list[ColumnElement[bool]]:
    not_automatic = not_(Component.automatic)
    conditions = [Component.space == space, Component.status == "ready", not_automatic]
    return (
        conditions
        if before is None
        else [*conditions, func.coalesce(Component.receipts_before, 0) < before]
    )


def check_files(
    reading: sessionmaker[Session],
    blobs: LocalBlobs,
    spaces: Collection[str],
    *,
    before: int,
    max_bytes: int = MAX_BYTES,
) -> FileCheck:
    """Read the files of the spaces' components that were ready before this receipt, smallest first.

    No transaction is open during the reading, so a file that is deleted meanwhile is no damage.
    """
    with transaction(reading) as session:
        rows = [
            row for space in sorted(spaces) for row in components(session, space, before=before)
        ]
    rows.sort(key=lambda row: (row.bytes or 0, row.id))
    chosen = list(_within(rows, max_bytes))
    damaged = sum(not _is_intact(reading, blobs, row) for row in chosen)
    return FileCheck(damaged, len(chosen), len(rows) - len(chosen))


def _within(rows: Iterable[Component], max_bytes: int) -> Iterable[Component]:
    size = 0
    for row in rows:
        size += row.bytes or 0
        if size > max_bytes:
            return
        yield row


def _is_intact(reading: sessionmaker[Session], blobs: LocalBlobs, row: Component) -> bool:
    if component_files.is_intact(blobs, row.blob_key or "", row.sha256):
        return True
    with transaction(reading) as session:
        present = session.get(Component, row.id)
        if present is None:
            return True
        return (present.blob_key, present.sha256) != (row.blob_key, row.sha256)
