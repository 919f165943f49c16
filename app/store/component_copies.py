"""Copies of a component: files with its bytes, or with all of them but the statistics.

    component_copies.of(session, blobs, row)      what an import finds again, and a deletion leaves

Rows have no hash of what a file is without its statistics. So it is taken of the few files whose
rows tell the same images, seed and settings.
"""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Component
from app.files import component_files
from app.files.blobs import LocalBlobs
from app.files.component_files import DamagedFile
from app.store import components, lineage

MAX_IDS = 10
MAX_READ = 20  # files that are hashed for one component


def of(session: Session, blobs: LocalBlobs, component: Component) -> list[str]:
    """Return the ids of the space's other ready components that are copies, at most ten."""
    same = lineage.of_same_file(session, component)
    return (same + but_for_statistics(session, blobs, component))[:MAX_IDS]


def but_for_statistics(session: Session, blobs: LocalBlobs, component: Component) -> list[str]:
    """Return the ids of copies where either the component or the copy has no statistics."""
    if component.derived is not None:
        return []  # no derived component has any
    query = select(Component).where(
        Component.space == component.space,
        Component.status == "ready",
        Component.derived.is_(None),
        Component.statistics.is_(not component.statistics),
        Component.seed == component.seed,
    )
    rows = session.scalars(query.order_by(Component.id).options(*components.WITHOUT_TIMES))
    alike = [row for row in rows if _told(row) == _told(component)][:MAX_READ]
    if not component.statistics:
        return [row.id for row in alike if _bare_hash(blobs, row) == component.sha256]
    bare = _bare_hash(blobs, component) if alike else None
    return [row.id for row in alike if row.sha256 == bare]


def _told(row: Component) -> tuple[Any, ...]:
    """Return what a file and a row of the same component both tell.

    A training may have chosen the penalty, which only its file has.
    """
    settings = {name: value for name, value in row.hyperparameters.items() if name != "l2"}
    return row.labels, settings


def _bare_hash(blobs: LocalBlobs, row: Component) -> str | None:
    """Return the SHA-256 of the file without statistics; None if the file is damaged."""
    try:
        return component_files.hash_without_statistics(blobs, row.blob_key or "", row.sha256)
    except DamagedFile:
        return None
