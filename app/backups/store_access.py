"""Access to a store by a command: its database, open for the block, if both fit this version."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, TimeoutError
from sqlalchemy.orm import Session, sessionmaker

from app.database import migrate
from app.database.sessions import fold_log, open_engine, session_factory
from app.files import folder_identity
from app.settings import BadSettings, Settings
from app.settings.addresses import fault_of_database


@contextmanager
def opened(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Yield a factory of sessions on the settings' database.

    Raises:
        BadSettings: it has no tables, another version's schema, or another data folder.
    """
    migrate.check_schema(settings)
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
