"""Backups: all rows of one moment, and the blobs that they name, in one file.

The service may go on. Rows are read as one moment shows them, and blobs are copied after that. If a
deletion was made in the meantime, the backup begins again, so that it never holds what was deleted
before its end; the last time, deletions wait for it.
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.archives.packs import Place
from app.backups import rows, store_access, tape
from app.backups.manifest import BLOBS, DATABASE, Manifest
from app.backups.tape import Tape, Unreadable
from app.database import migrate
from app.database.sessions import frozen_view, hold_write_lock, transaction
from app.database.tables import Dataset, now, stamp
from app.files import erasure, folder_identity, folder_lock
from app.files.blobs import LocalBlobs
from app.files.component_files import UNREADABLE
from app.receipts.body import installed
from app.settings import Settings

MAX_ATTEMPTS = 4
SCRATCH = "backup"  # prefix of the folder with the copied rows


@dataclass(frozen=True)
class Copied:
    """The rows of one moment, copied into a file, and the blobs to go with them."""

    database: Path
    head: rows.Head
    identity: str | None
    tables: dict[str, rows.Digest]
    blobs: dict[str, str | None]  # key -> the SHA-256 that its row knows
    # of packs: places that no image row covers; None: its medium fails
    erased: dict[str, Sequence[Place] | None]
    damaged_rows: list[str]


def back_up(settings: Settings, target: Path) -> Manifest:
    """Write a backup of the store to a new file; return its manifest.

    Raises:
        BadSettings: the file is there already, or does not read back; or database and folder cannot
            be used.
        Differing: the database does not give its rows back as they are.
    """
    store_access.check_schema(settings)  # before the lock, which makes a folder
    with (
        folder_lock.shared(settings),
        store_access.opened(settings) as sessions,
        tape.written(target) as writing,
    ):
        blobs = LocalBlobs(settings.data_dir / "blobs")
        for attempt in range(1, MAX_ATTEMPTS + 1):
            with ExitStack() as stack:
                if attempt == MAX_ATTEMPTS:
                    hold_write_lock(stack.enter_context(transaction(sessions)))
                manifest = _attempt(settings, sessions, blobs, writing)
            if manifest is not None:
                writing.finish(manifest)
                return manifest
            writing.rewind()
    raise AssertionError("the last attempt holds the write lock")


def _attempt(
    settings: Settings, sessions: sessionmaker[Session], blobs: LocalBlobs, writing: Tape
) -> Manifest | None:
    """Write database and blobs; None if a deletion came in between."""
    folder = blobs.scratch_path(SCRATCH)
    folder.mkdir(mode=0o700)
    try:
        copied = _copy_rows(settings, sessions, blobs, folder)
        writing.add(DATABASE, copied.database)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    wrong = [key for key in copied.blobs if not _is_added(writing, blobs, copied, key)]
    with frozen_view(sessions) as session:
        if rows.head(session) != copied.head or not set(wrong) <= rows.blob_keys(session).keys():
            return None
    return Manifest(
        made_at=stamp(now()),
        version=installed("tangent-composer"),
        revision=migrate.newest(),
        identity=copied.identity,
        ledger=copied.head,
        tables=copied.tables,
        files=writing.entries,
        missing=wrong,
        damaged_rows=copied.damaged_rows,
    )


def _is_added(writing: Tape, blobs: LocalBlobs, copied: Copied, key: str) -> bool:
    """Write the blob, if it can be read; return whether it is the one that its row knows."""
    path, erased = blobs.path(key, must_exist=False), copied.erased.get(key, ())
    if erased is None:
        return False
    try:
        entry = writing.add(BLOBS + key, path, erased)
    except (FileNotFoundError, Unreadable):
        return False
    return copied.blobs[key] in (None, entry.sha256)


def _copy_rows(
    settings: Settings, sessions: sessionmaker[Session], blobs: LocalBlobs, folder: Path
) -> Copied:
    copy = store_access.rows_only(settings, folder)
    migrate.upgrade(copy, with_jobs=False)
    with frozen_view(sessions) as session:
        with store_access.sessions_of(copy) as copies, transaction(copies) as target:
            tables = rows.copy_checked(session, target)
        changed = session.scalars(select(Dataset).where(Dataset.revision > 0, Dataset.intact))
        return Copied(
            database=folder / DATABASE,
            head=rows.head(session),
            identity=folder_identity.own_id(session),
            tables=tables,
            blobs=rows.blob_keys(session),
            erased={row.pack_key: _erased(session, blobs, row) for row in changed},
            damaged_rows=rows.damaged_names(session),
        )


def _erased(session: Session, blobs: LocalBlobs, dataset: Dataset) -> Sequence[Place] | None:
    try:
        return erasure.uncovered(session, blobs, dataset)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return None


def described(manifest: Manifest, target: Path) -> list[str]:
    """Return sentences about a finished backup: its content, and what it will keep."""
    size = sum(entry.bytes for entry in manifest.files.values())
    count = sum(digest.rows for digest in manifest.tables.values())
    lines = [
        f"{target} holds {count} rows and {len(manifest.files) - 1} of the store's files, in "
        f"{size} bytes; the ledger's head is receipt {manifest.ledger.number}, "
        f"{manifest.ledger.hash}",
        "it keeps what is deleted from now on: restore it with the receipts of later deletions, "
        "and remove it when its time is over",
    ]
    lines += [
        f"{name} is damaged in the database, and in the backup" for name in manifest.damaged_rows
    ]
    return lines + [
        f"{key} is missing or damaged: see `tangent doctor`" for key in manifest.missing
    ]
