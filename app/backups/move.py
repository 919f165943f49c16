"""Moves of a store to another database; its data folder stays.

Nothing serves the store meanwhile: the folder's lock is held alone, and the old database's tables
are closed to writers. The new one is complete and compared before the folder's identity names it;
the old one keeps its rows, says where they went, and is served no more.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex

from sqlalchemy import text, update
from sqlalchemy.orm import Session, sessionmaker

from app.backups import rows, store_access
from app.backups.manifest import DATABASE
from app.database import migrate
from app.database.audit import by_command
from app.database.jobs import Jobs
from app.database.sessions import transaction, with_info
from app.database.tables import DatabaseIdentity
from app.files import folder_identity, folder_lock
from app.settings import BadSettings, Settings
from app.store import workers

STAGING = "moving"
LOCK_SECONDS = 5


@dataclass(frozen=True)
class Moved:
    """The outcome of a move."""

    target: Settings
    tables: dict[str, rows.Digest]
    ledger: rows.Head
    queued: int  # trainings that go on


def move(settings: Settings, to: str) -> Moved:
    """Move all rows to an empty database, a Postgres URL or `sqlite`; hand the folder over to it.

    Raises:
        BadSettings: something runs on the store, or the target cannot take it; nothing was changed.
    """
    target = _target(settings, to)
    if target.sql_url == settings.sql_url:
        raise BadSettings(f"the rows are in {folder_identity.named(settings)} already")
    store_access.check_schema(settings)  # before the lock, which makes a folder
    with folder_lock.exclusive(settings), store_access.opened(settings) as sessions:
        folder_identity.claim(settings)
        _check_no_worker(settings, sessions)
        with _built(target) as building:
            new_id = token_hex(16)
            with transaction(sessions) as old:
                _keep_writers_out(old)
                moved = _copied(target, building, old, new_id)
                _put_in_place(target, building)
                folder_identity.switch(settings, new_id)
                closed = f"its rows were moved to {folder_identity.named(target)}: use that one"
                old.execute(update(DatabaseIdentity).values(closed=closed))
    return moved


def _target(settings: Settings, to: str) -> Settings:
    in_folder = settings.model_copy(update={"database_url": None})
    if to in ("sqlite", in_folder.sql_url):
        return in_folder
    if to.startswith("sqlite"):
        raise BadSettings(
            f"--to is {to!r}: name a Postgres URL, or sqlite for {in_folder.sql_url[10:]}"
        )
    return store_access.at_url(settings, to, "--to")


def _check_no_worker(settings: Settings, sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        alive = workers.alive(session, dead_seconds=settings.worker_dead_seconds)
    if alive:
        raise BadSettings(
            f"worker {', '.join(sorted(alive))} gave a sign of life within the last "
            f"{settings.worker_dead_seconds:g} s: stop it first"
        )


def _keep_writers_out(session: Session) -> None:
    """Keep everybody else from writing until the transaction ends, as on SQLite it always does."""
    if session.get_bind().dialect.name != "postgresql":
        return
    session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    names = ", ".join(table.name for table in rows.TABLES)
    session.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))


@contextmanager
def _built(target: Settings) -> Iterator[Settings]:
    """Yield settings of the empty database to fill: SQLite's lies aside until it is complete."""
    _check_free(target)
    if target.database_url is not None:
        migrate.upgrade(target)
        yield target
        return
    folder = target.data_dir / STAGING
    shutil.rmtree(folder, ignore_errors=True)  # of a move that was killed
    folder.mkdir(mode=0o700)
    try:
        building = store_access.rows_only(target, folder)
        migrate.upgrade(building)
        yield building
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_free(target: Settings) -> None:
    """Raise BadSettings unless the target has no rows, or is one that was moved away before."""
    if migrate.is_empty(target):
        return
    with store_access.sessions_of(target) as sessions, transaction(sessions) as session:
        if target.database_url is None and folder_identity.closed(session) is not None:
            return  # its file is replaced, of whatever version it is
        if migrate.is_current(target) and rows.is_empty(session):
            return
    raise BadSettings(f"{folder_identity.named(target)} is not empty: name a new one")


def _copied(target: Settings, building: Settings, old: Session, new_id: str) -> Moved:
    jobs = Jobs(building)
    try:
        with (
            store_access.sessions_of(building) as sessions,
            transaction(with_info(sessions, act=by_command("tangent move"))) as new,
        ):
            new.query(DatabaseIdentity).delete()
            new.add(DatabaseIdentity(number=1, id=new_id))
            tables = rows.copy_checked(old, new)
            return Moved(target, tables, rows.head(new), rows.queue(new, jobs))
    except rows.Differing as error:
        raise BadSettings(
            f"nothing was moved, as {folder_identity.named(target)} does not keep the rows as they "
            f"are: {error}"
        ) from None
    finally:
        jobs.close()


def _put_in_place(target: Settings, building: Settings) -> None:
    if target is building:
        return
    with store_access.sessions_of(building):  # folds the log, now that the job queue is closed
        pass
    for path in target.data_dir.glob(f"{DATABASE}-*"):  # the log of the one that is replaced
        path.unlink()
    (building.data_dir / DATABASE).replace(target.data_dir / DATABASE)


def described(moved: Moved) -> list[str]:
    """Return sentences about a finished move, and about what is left to do."""
    count, name = sum(each.rows for each in moved.tables.values()), moved.target.database_url
    setting = f"set TANGENT_DATABASE_URL to {folder_identity.named(moved.target)[13:]}"
    return [
        f"rows moved, equal to the byte: {count}; the ledger's last receipt: "
        f"{moved.ledger.number}; trainings that go on: {moved.queued}",
        f"{setting if name else 'unset TANGENT_DATABASE_URL'} before the next start",
        "the old database keeps its rows, also those that are deleted later: drop it when you are "
        "content with the new one",
    ]
