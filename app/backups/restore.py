"""Restores: a backup becomes a new store, without what was deleted after the backup was made.

Files are read, checked and put in place first, rows after them in one transaction. The new database
stays closed until the later deletions have been done again, so that nothing of them is served.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app import parts
from app.backups import later_deletions, repetition, rows, store_access, tape
from app.backups.later_deletions import Deletion, Labels, Ledger
from app.backups.manifest import BLOBS, DATABASE, BadBackup, Manifest
from app.backups.repetition import Repeated
from app.database import migrate
from app.database.audit import by_command
from app.database.jobs import Jobs
from app.database.sessions import transaction, with_info
from app.database.tables import ACTIVE, Component, DatabaseIdentity
from app.datasets import privacy_ledger
from app.files import folder_identity, folder_lock, private_folder
from app.files.blobs import BlobMissing, LocalBlobs
from app.parts import Signer
from app.server.metrics import Metrics
from app.settings import BadSettings, Settings
from app.store import components

STAGING = "restoring"
OWN_FILES = {folder_lock.FILE, "migrate.lock"}
UNFINISHED = "its restore was not finished: empty database and data folder, and restore again"
NOT_REPEATED = "private_not_repeated"  # code of a private training that the backup has unfinished
IN_DOUBT = (
    "it was still to be trained when the backup was made and may have come out since, and a "
    "private component is never made a second time: its spend counts; train a new one, or delete "
    "it"
)
IN_RECEIPTS = "components, datasets, images and spaces"


@dataclass(frozen=True)
class Restored:
    """The outcome of a restore."""

    manifest: Manifest
    queued: int  # trainings that go on
    failed: list[str]  # private components that are not trained, as they may have come out since
    repeated: list[str]  # sentences, one for each deletion that was made again
    open_ends: list[str]  # sentences on what could not be


def restore(
    settings: Settings, backup: Path, later: Ledger | None = None, signer: Signer | None = None
) -> Restored:
    """Make a new store of the backup in the settings' data folder and database.

    Raises:
        BadSettings: folder or database are not empty, or the newer ledger is of another store.
        BadBackup: the file is damaged or of a newer version; folder and database stay empty.
    """
    _check_empty(settings)
    with folder_lock.exclusive(settings):
        with _staging(settings) as staging:
            manifest = tape.read(backup, staging)
            source = store_access.rows_only(settings, staging)
            _bring_up_to_date(source)
            with _undone_on_error(settings):
                queued, failed, held = _fill(settings, source, manifest, later)
        labels = later.labels if later else {}
        repeated = _repeat(settings, held, labels, signer) if held else Repeated([], [])
        _open(settings)
    return Restored(manifest, queued, failed, repeated.done, repeated.open_ends)


def _check_empty(settings: Settings) -> None:
    folder = settings.data_dir.absolute()
    used = [path for path in folder.rglob("*") if path.is_file() and path.name not in OWN_FILES]
    if used:
        raise BadSettings(
            f"the data folder {folder} is not empty, it has {used[0].relative_to(folder)}: restore "
            "into a new folder"
        )
    if settings.database_url is None or migrate.is_empty(settings):
        return
    with store_access.sessions_of(settings) as sessions, transaction(sessions) as session:
        if not migrate.is_current(settings) or not rows.is_empty(session):
            raise BadSettings(
                "the database of TANGENT_DATABASE_URL is not empty: restore into a new one"
            )


@contextmanager
def _staging(settings: Settings) -> Iterator[Path]:
    folder = settings.data_dir / STAGING
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _undone_on_error(settings: Settings) -> Iterator[None]:
    """Empty the data folder again on an error; the database rolls back by itself."""
    try:
        yield
    except BaseException:
        shutil.rmtree(settings.data_dir / "blobs", ignore_errors=True)
        if settings.database_url is None:
            for path in settings.data_dir.glob(f"{DATABASE}*"):
                path.unlink()
        raise


def _bring_up_to_date(source: Settings) -> None:
    revision = migrate.revision_of(source)
    if revision not in migrate.revisions():
        raise BadBackup(
            f"its schema {revision!r} is unknown here: restore it with the version that made it"
        )
    migrate.upgrade(source, with_jobs=False)


def _fill(
    settings: Settings, source: Settings, manifest: Manifest, later: Ledger | None
) -> tuple[int, list[str], list[Deletion]]:
    """Put files and rows in place.

    Return the number of queued trainings, those that failed, and what is to be deleted again.
    """
    migrate.upgrade(settings)
    _place_blobs(settings, source.data_dir)
    jobs = Jobs(settings)
    try:
        with (
            store_access.sessions_of(source) as old,
            store_access.sessions_of(settings) as new,
            transaction(old) as backed_up,
            transaction(with_info(new, act=by_command("tangent restore"))) as session,
        ):
            _check(settings, manifest, rows.blob_keys(backed_up), rows.head(backed_up))
            session.add(DatabaseIdentity(number=1, id=token_hex(16), closed=UNFINISHED))
            rows.copy_checked(backed_up, session)
            news = later.after(manifest.ledger) if later else None
            held = later_deletions.add(session, news) if news else []
            failed = _fail_private(session)
            return rows.queue(session, jobs), failed, held
    except rows.Differing as error:
        raise BadBackup(f"its rows cannot be kept in this database: {error}") from None
    finally:
        jobs.close()


def _fail_private(session: Session) -> list[str]:
    """Fail private components that are still to be trained; return their ids.

    The store of the backup may have finished them since, so their spends count for ever.
    """
    waiting = Component.status.in_(ACTIVE), Component.privacy.is_not(None)
    found = session.scalars(select(Component.id).where(*waiting).order_by(Component.id)).all()
    for id_ in found:
        components.fail(session, id_, code=NOT_REPEATED, detail=IN_DOUBT)
        privacy_ledger.note_release(session, id_)
    return list(found)


def _place_blobs(settings: Settings, staging: Path) -> None:
    target, source = settings.data_dir / "blobs", staging / BLOBS.rstrip("/")
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)  # folders without files
        source.rename(target)


def _check(
    settings: Settings, manifest: Manifest, named: dict[str, str | None], head: rows.Head
) -> None:
    if head != manifest.ledger:
        raise BadBackup("its ledger has another head than its manifest: use another backup")
    blobs = LocalBlobs(settings.data_dir / "blobs")
    for key in named.keys() - set(manifest.missing):
        try:
            blobs.path(key)
        except BlobMissing:
            raise BadBackup(f"it has no {key}, which a row names: use another backup") from None


def _repeat(
    settings: Settings,
    held: list[Deletion],
    labels: Mapping[str, Labels],
    signer: Signer | None,
) -> Repeated:
    with parts.opened(settings, Metrics("0"), signer) as opened:
        return repetition.repeat(opened, held, labels)


def _open(settings: Settings) -> None:
    with store_access.sessions_of(settings) as sessions, transaction(sessions) as session:
        session.execute(update(DatabaseIdentity).values(closed=None))
        identity = folder_identity.own_id(session)
    folder_identity.switch(settings, str(identity))
    private_folder.close(settings.data_dir)


def described(restored: Restored, with_ledger: bool) -> list[str]:
    """Return sentences about a finished restore, and about what backups still hold."""
    manifest, head = restored.manifest, restored.manifest.ledger
    lines = [
        f"the store of {manifest.made_at} is restored, with the ledger's receipts up to "
        f"{head.number}; trainings that go on: {restored.queued}",
        *(f"{id_} is private and has failed: {IN_DOUBT}" for id_ in restored.failed),
        *restored.repeated,
    ]
    if not with_ledger:
        lines.append(
            "what was deleted after the backup is back: restore with --receipts or --ledger to "
            f"delete {IN_RECEIPTS} again"
        )
    elif not restored.repeated and not restored.open_ends:
        lines.append(f"of the backup's {IN_RECEIPTS}, none was deleted after it")
    return [
        *lines,
        f"receipts tell of {IN_RECEIPTS} alone: evaluations, batch predictions and compositions "
        "that were deleted after the backup are back, and API keys that were revoked are valid "
        "again: look at `tangent keys list`",
        "this backup and older ones still hold what was deleted after them",
    ]
