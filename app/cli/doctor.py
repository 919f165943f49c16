"""The doctor: looks whether rows and files of a store fit together, and settles what does not.

for finding in examine(settings): …      reads only, also while the service runs
settle(settings) · remove(settings, …)   does the harmless remedies · removes what is named
scrub(settings)                          reads every file through, and notes what is damaged
"""

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from app.database import migrate, row_damage
from app.database.audit import by_command, name_hash
from app.database.changes import note_rows
from app.database.row_checksums import KEPT
from app.database.sessions import frozen_view, open_engine, session_factory, transaction, with_info
from app.database.tables import Component, Dataset, Image
from app.files import erasure, folder_identity, folders
from app.files.blobs import LocalBlobs
from app.files.paced_files import Pace
from app.files.quarantine import Quarantine
from app.files.sweep import UNCLAIMED_SECONDS, Survey, survey, sweep
from app.passes import queue
from app.receipts import ledger, tree
from app.settings import BadSettings, Settings
from app.store import scrub as scrubbing
from app.store.components import ACTIVE
from app.store.damage import HOW_TO_MEND
from app.store.members import is_damaged

MIN_FREE_BYTES = 2**30  # with less, an upload or a training may not fit
SETTLE = "`tangent doctor --settle`"
NAME_IT = "name that of the service in TANGENT_DATA_DIR or --data-dir"
ID = re.compile(r"\b(bp|cmp|ds)_[0-9a-f]{24}\b")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, and the remedy."""

    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}"


def examine(settings: Settings) -> list[Finding]:
    """Return what is wrong with the data folder and its database; change nothing."""
    if not settings.data_dir.is_dir():
        return [Finding(f"there is no folder {settings.data_dir}", NAME_IT)]
    return list(_findings(settings))


def settle(settings: Settings) -> list[str]:
    """Do the remedies that need no decision; return what was done.

    Raises:
        BadSettings: there is no store, or folder and database do not belong together; then
            nothing was done.
    """
    blobs = _blobs(settings)
    quarantine, engine = Quarantine(blobs), open_engine(settings)
    try:
        sessions = session_factory(engine)
        before, left = set(quarantine.keys()), _left_over(sessions, blobs)

        def announce(keys: list[str]) -> None:
            _log(sessions, "tangent doctor --settle", keys + [path.name for path in left])

        done = [f"{key} was removed" for key in sweep(sessions, blobs, announce=announce)]
        after = set(quarantine.keys())
        done += [f"{key} was moved to quarantine" for key in sorted(after - before)]
        done += [f"{key} has left the quarantine" for key in sorted(before - after)]
        erasure.finish_erasures(sessions, blobs)
        for path in left:
            folders.remove(path)
            done.append(f"{path} was removed")
        return done
    finally:
        engine.dispose()


def scrub(settings: Settings) -> list[str]:
    """Read every file through at full speed, and note what is damaged or whole again.

    Return what has changed. The service may run meanwhile.

    Raises:
        BadSettings: folder and database do not belong together; then nothing was done.
    """
    blobs, engine = _blobs(settings), open_engine(settings)
    pace, done = Pace(), []
    sessions = with_info(session_factory(engine), act=by_command("tangent doctor --scrub"))
    try:
        for read in scrubbing.scrub(sessions, blobs, pace):
            if read.damaged:
                done.append(f"{read.position}: {read.damaged} newly found damaged")
            if read.whole:
                done.append(f"{read.position}: {read.whole} whole again")
    except scrubbing.FolderAway as away:
        raise BadSettings(str(away)) from None
    finally:
        engine.dispose()
    return [*done, f"{pace.bytes} bytes were read"]


def remove(settings: Settings, names: Iterable[str]) -> list[str]:
    """Remove files and folders of the quarantine; return what was done.

    Raises:
        BadSettings: one of them is not there, or folder and database do not belong together; then
            nothing was done.
    """
    quarantine = Quarantine(_blobs(settings))
    doomed = [key for name in names for key in _of_name(quarantine, name)]
    engine = open_engine(settings)
    try:
        _log(session_factory(engine), "tangent doctor --remove", doomed)
    finally:
        engine.dispose()
    return [f"{key} was removed from quarantine" for key in doomed if quarantine.delete(key)]


def _log(sessions: sessionmaker[Session], command: str, files: list[str]) -> None:
    """Add an entry on these files to the audit log, before they are touched: no transaction can.

    A file is named by the id in its name, or else by a hash: anybody may have chosen the name.
    """
    if not files:
        return
    found = [(name, ID.search(name)) for name in files]
    objects = [id_[0] if id_ else name_hash("file", name) for name, id_ in found]
    with transaction(with_info(sessions, act=by_command(command, *objects))) as session:
        note_rows(session)


def _blobs(settings: Settings) -> LocalBlobs:
    if not settings.data_dir.is_dir():
        raise BadSettings(f"there is no store at {settings.data_dir}, no such folder: {NAME_IT}")
    migrate.check_schema(settings)
    folder_identity.check(settings)
    return LocalBlobs(settings.data_dir / "blobs")


def _of_name(quarantine: Quarantine, name: str) -> list[str]:
    """Return the keys of the file or of the folder's files."""
    name, held = name.strip("/"), list(quarantine.keys())
    keys = [key for key in held if key == name or key.startswith(f"{name}/")]
    if not keys:
        raise BadSettings(
            f"--remove is {name!r}: no file or folder of the quarantine has this name, "
            f"`tangent doctor` lists those in {quarantine.root}"
        )
    return keys


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from _space(settings)
    if migrate.is_empty(settings):
        yield Finding("the database has no tables", migrate.CHECK)
        return
    if found := migrate.other_version(settings):
        yield Finding(*found)
        return
    try:
        folder_identity.check(settings)
    except BadSettings as error:
        text, _, remedy = str(error).rpartition(": ")
        yield Finding(text, remedy)
        return
    blobs = LocalBlobs(settings.data_dir / "blobs")
    engine = open_engine(settings)
    try:
        sessions = session_factory(engine)
        for name in row_damage.find(sessions):
            yield Finding(f"{name} is damaged in the database", row_damage.HOW_TO_MEND)
        yield from _of_files(sessions, blobs)
        for path in _left_over(sessions, blobs):
            yield Finding(f"{path} is left over from interrupted work", f"{SETTLE} removes it")
        with frozen_view(sessions) as session:
            broken, sound = ledger.broken_at(session), tree.is_sound(session)
        if broken is not None:
            yield Finding(
                f"receipt {broken} breaks the ledger's chain",
                "compare with saved receipts by `tangent verify-receipts`, restore from a backup",
            )
        if not sound:
            yield Finding(
                "the tree over the receipts is not theirs, so checkpoints and proofs are wrong",
                "compare saved checkpoints by `tangent verify-receipts`, restore from a backup",
            )
    finally:
        engine.dispose()


def _space(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.data_dir).free
    if free < MIN_FREE_BYTES:
        yield Finding(
            f"the disk of {settings.data_dir} has {free} bytes left",
            f"make room: uploads and trainings need up to {MIN_FREE_BYTES}",
        )


def _of_files(sessions: sessionmaker[Session], blobs: LocalBlobs) -> Iterator[Finding]:
    quarantine = Quarantine(blobs)
    found, held = list(blobs.keys()), list(quarantine.keys())
    with frozen_view(sessions) as session:
        seen = survey(session, blobs, found)
        cut = list(_cut(session, blobs))
        failed = select(Component).where(is_damaged())
        damaged = list(session.scalars(failed.execution_options(**KEPT)))
        partial = select(Dataset).where(Dataset.damaged_images > 0)
        partly = list(session.scalars(partial.execution_options(**KEPT)))
    lost = set(seen.missing)
    yield from _unnamed(seen)
    for key in sorted(lost.intersection(held)):
        yield Finding(f"{key} is in quarantine, and a row names it", f"{SETTLE} brings it back")
    for key in sorted(lost.difference(held)):
        yield Finding(f"{key} is missing, and a row names it", _how_to_mend(key))
    for row in damaged:
        text, _, remedy = str((row.error or {}).get("detail")).rpartition(": ")
        yield Finding(f"component {row.id} does not answer, {text}", remedy)
    for dataset in partly:
        if dataset.pack_key not in lost:
            number = f"{dataset.damaged_images} of {dataset.num_images} images"
            yield Finding(f"{number} of dataset {dataset.id} are damaged", HOW_TO_MEND)
    for key, size, wanted in cut:
        yield Finding(f"{key} has {size} bytes instead of {wanted}", _how_to_mend(key))
    for key in sorted(set(held) - lost):
        yield Finding(
            f"{quarantine.path(key)} is known to no row",
            f"start with the database that knows it, or `tangent doctor --remove {key}`",
        )


def _unnamed(seen: Survey) -> Iterator[Finding]:
    for key in seen.deleted:
        yield Finding(f"{key} is left of something deleted", f"{SETTLE} removes it")
    for key in seen.abandoned:
        yield Finding(f"{key} is left of an interrupted write", f"{SETTLE} removes it")
    for key in seen.unknown:
        yield Finding(
            f"{key} is known to no row", f"{SETTLE} or the next start moves it to quarantine"
        )


def _how_to_mend(key: str) -> str:
    folder, _, rest = key.partition("/")
    subject_id = rest.partition("/")[0]
    route = f"{folder.replace('_', '-')}/{subject_id}"
    query = "?cascade=true" if folder == "datasets" else ""
    return f"put it back from a backup, or DELETE /v1/{route}{query}"


def _cut(session: Session, blobs: LocalBlobs) -> Iterator[tuple[str, int, int]]:
    """Yield the keys of files that are shorter or longer than their rows say, with both sizes."""
    ends = (
        select(Dataset.pack_key, func.max(Image.pack_offset + Image.pack_length))
        .join(Image, Image.dataset_id == Dataset.id)
        .group_by(Dataset.id, Dataset.pack_key)
    )
    files = select(Component.blob_key, Component.bytes).where(Component.blob_key.is_not(None))
    for query, exact in ((ends, False), (files, True)):
        for key, number in session.execute(query):
            wanted, size = int(number or 0), folders.size(blobs.path(str(key), must_exist=False))
            if size is not None and (size < wanted or (exact and size != wanted)):
                yield str(key), size, wanted


def _left_over(sessions: sessionmaker[Session], blobs: LocalBlobs) -> list[Path]:
    """Return what lies in the scratch folder and belongs to no work under way."""
    with frozen_view(sessions) as session:
        active = set(session.scalars(select(Component.id).where(Component.status.in_(ACTIVE))))
        active.update(each.id for each in queue.waiting(session))
    limit = time.time() - UNCLAIMED_SECONDS
    return [
        path
        for path in sorted(blobs.scratch.iterdir())
        if path.name.rpartition("-")[0] not in active and _changed_at(path) < limit
    ]


def _changed_at(path: Path) -> float:
    """Return when the file, or anything in the folder, was last written."""
    try:
        return max(each.stat().st_mtime for each in (path, *path.rglob("*")))
    except FileNotFoundError:  # its owner has just removed it
        return time.time()
