"""Access to a store by a command: its database, open for the block, if both fit this version."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.orm import Session, sessionmaker

from app.database import migrate
from app.database.sessions import fold_log, open_engine, session_factory, transaction
from app.files import folder_identity
from app.settings import BadSettings, Settings
from app.settings.addresses import fault_of_database


def check_schema(settings: Settings) -> None:
    """Check that there is a database of this version; make nothing, not even a folder.

    Raises:
        BadSettings: it has no tables, or another version's schema, or it was moved away, or its
            restore was not finished.
    """
    migrate.check_tables(settings)
    _check_open(settings)
    migrate.check_schema(settings)


def _check_open(settings: Settings) -> None:
    engine = open_engine(settings)
    try:
        with transaction(session_factory(engine, read_only=True)) as session:
            folder_identity.check_open(session, settings)
    finally:
        engine.dispose()


def prepare(settings: Settings) -> bool:
    """Make the tables of a database that has none; return whether it had none.

    Raises:
        BadSettings: as `check_schema`, or the folder is another database's.
    """
    if not migrate.is_empty(settings):
        check_schema(settings)
        return False
    folder_identity.refuse_used(settings)
    migrate.upgrade(settings)
    return True


def newly_made(settings: Settings) -> str:
    """Return a sentence on the database that `prepare` has made, and maybe nobody wanted."""
    where = folder_identity.named(settings)
    return f"made a new store in {where}: if there is one already, {migrate.CHECK}"


@contextmanager
def opened(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Yield a factory of sessions on the settings' database.

    Raises:
        BadSettings: as `check_schema`, or it is another data folder's.
    """
    check_schema(settings)
    folder_identity.check(settings)
    with sessions_of(settings) as sessions:
        yield sessions


@contextmanager
def sessions_of(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Yield a factory of sessions on the settings' database, whatever there is in it."""
    engine = open_engine(settings, limited=False)
    try:
        yield session_factory(engine)
    finally:
        fold_log(engine)
        engine.dispose()


def at_url(settings: Settings, url: str, flag: str) -> Settings:
    """Return the settings with another database, which the flag names.

    Raises:
        BadSettings: the URL is wrong, or its database cannot be reached.
    """
    if fault := fault_of_database(url):
        raise BadSettings(f"{flag} is ***: {fault}")
    there = settings.model_copy(update={"database_url": url})
    try:
        migrate.is_empty(there)
    except (DBAPIError, TimeoutError) as error:
        cause = str(getattr(error, "orig", error)).strip()
        raise BadSettings(
            f"{flag}: {folder_identity.named(there)} cannot be used: {cause}"
        ) from None
    return there


def rows_only(settings: Settings, folder: Path) -> Settings:
    """Return settings of the SQLite file `tangent.db` in this folder."""
    return settings.model_copy(update={"data_dir": folder, "database_url": None})
