"""Access to a store by a command: its database, open for the block, if both fit this version."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from app.database import migrate
from app.database.sessions import fold_log, open_engine, session_factory
from app.files import folder_identity
from app.settings import BadSettings, Settings


@contextmanager
def opened(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Yield a factory of sessions on the settings' database.

    Raises:
        BadSettings: it has no tables, another version's schema, or another data folder.
    """
    if migrate.is_empty(settings):
        raise BadSettings(
            "the database has no tables: check TANGENT_DATA_DIR and TANGENT_DATABASE_URL"
        )
    if not migrate.is_current(settings):
        raise BadSettings("the database schema is of another version: run `tangent migrate`")
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


def rows_only(settings: Settings, folder: Path) -> Settings:
    """Return settings of the SQLite file `tangent.db` in this folder."""
    return settings.model_copy(update={"data_dir": folder, "database_url": None})
