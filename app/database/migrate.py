"""Brings a database to the present schema: the job engine's tables first, then ours by Alembic.

    upgrade(settings)      run by `tangent migrate`
    is_current(settings)   checked by `serve` before it starts
    check_schema(settings) the same for commands, which say what is wrong

A database is current when it has our newest revision; as that is written last, an interrupted
upgrade does not count, and running it again finishes it. A current database that has its triggers
is left alone, as it may be in use. After a change of app.database.tables,
`python -m app.database.migrate "what changes"` drafts the next revision.
"""

import fcntl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from app.database import audit, jobs, row_damage, row_triggers
from app.database.audit import Act
from app.database.sessions import open_engine
from app.settings import BadSettings, Settings

CHECK = "check TANGENT_DATA_DIR and TANGENT_DATABASE_URL"
OLDER = ("the database schema is of another version", "run `tangent migrate`")
NEWER = (
    "the database schema is of a newer version of the service",
    "install that version, or restore a backup from before the upgrade",
)
LOCK = 0x74616E67  # "tang": the number of our advisory lock on Postgres


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return True if Alembic may compare and change the named table."""
    return kind != "table" or name not in jobs.TABLES


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, which needs no ini file and no working directory."""
    made = Config()
    made.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    made.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    made.attributes["connection"] = connection
    return made


def upgrade(settings: Settings, *, with_jobs: bool = True, act: Act | None = None) -> None:
    """Create or bring up to date every table; safe to run twice and from many processes at once.

    A backup's database has none of the job engine's tables. The act stands in the audit log if
    there was something to bring up to date.

    Raises:
        BadSettings: the database is of a newer version; it is left as it is.
    """
    with _alone(settings) as engine:
        if engine.dialect.name == "sqlite":
            engine.connect().close()  # makes the file, and WAL its journal for good
        before = _revision_in(engine)
        if before is not None and _is_newer(before):
            raise BadSettings(": ".join(NEWER))
        if with_jobs:
            jobs.create_tables(settings)
        if before == newest() and _has_triggers(engine):
            return
        with engine.begin() as connection:
            command.upgrade(config(connection), "head")
            if act is not None and before not in (None, newest()):
                with Session(connection) as session, session.begin():
                    session.add(audit.entry(act))


def downgrade(settings: Settings, revision: str = "base") -> None:
    """Take our tables and their rows back to a revision; the job engine's tables stay."""
    with _alone(settings) as engine, engine.begin() as connection:
        command.downgrade(config(connection), revision)


def newest() -> str:
    """Return the revision of this version's schema."""
    return str(ScriptDirectory.from_config(config()).get_current_head())


def is_current(settings: Settings) -> bool:
    """Return True if the database is at our newest revision; create nothing, not even a file."""
    if settings.database_url is None and not (settings.data_dir / "tangent.db").is_file():
        return False
    return revision_of(settings) == newest()


def other_version(settings: Settings) -> tuple[str, str] | None:
    """Return how the schema of a database with tables differs from ours, and what to do.

    No step leads from a newer version back, so `tangent migrate` is no remedy there.
    """
    revision = revision_of(settings)
    if revision == newest():
        return None
    return NEWER if revision is not None and _is_newer(revision) else OLDER


def is_empty(settings: Settings) -> bool:
    """Return True if no revision has ever been applied to the database."""
    if settings.database_url is None and not (settings.data_dir / "tangent.db").is_file():
        return True
    return revision_of(settings) is None


def check_schema(settings: Settings) -> None:
    """Check that there is a database of this version; make nothing, not even a folder.

    Raises:
        BadSettings: it has no tables, or another version's schema.
    """
    check_tables(settings)
    if found := other_version(settings):
        raise BadSettings(": ".join(found))


def check_tables(settings: Settings, remedy: str = CHECK) -> None:
    """Check that there is a database of any version; make nothing, not even a folder.

    Raises:
        BadSettings: it has no tables.
    """
    if is_empty(settings):
        where = "" if settings.database_url else f"there is no store at {settings.data_dir}: "
        raise BadSettings(f"{where}the database has no tables: {remedy}")


def revision_of(settings: Settings) -> str | None:
    """Return the revision that the database is at; None if none was ever applied."""
    engine = open_engine(settings)
    try:
        return _revision_in(engine)
    finally:
        engine.dispose()


def _revision_in(engine: Engine) -> str | None:
    with engine.connect().execution_options(sqlite_begin="DEFERRED") as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _is_newer(revision: str) -> bool:
    """Return whether a later version has made the revision, since this one has no step to it."""
    return revision not in revisions()


def _has_triggers(engine: Engine) -> bool:
    with engine.connect().execution_options(sqlite_begin="DEFERRED") as connection:
        return row_triggers.are_there(connection, [each.name for each in row_damage.CHECKED])


def revisions() -> list[str]:
    """Return every revision that this version knows."""
    return [each.revision for each in ScriptDirectory.from_config(config()).walk_revisions()]


def revise(message: str) -> None:
    """Draft the revision from the newest one to app.database.tables, on a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate({"data_dir": Path(folder)})  # not the environment
        upgrade(settings)
        with _alone(settings) as engine, engine.connect() as connection:
            command.revision(config(connection), message, autogenerate=True)


@contextmanager
def _alone(settings: Settings) -> Iterator[Engine]:
    """Yield the database's engine, while no other process migrates it."""
    engine = open_engine(settings, limited=False)
    try:
        if engine.dialect.name == "sqlite":
            with (settings.data_dir / "migrate.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # let go of with the file
                yield engine
        else:
            with _advisory_lock(engine):
                yield engine
    finally:
        engine.dispose()


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    # Neither the holder nor a waiter may have a transaction open: the job engine creates indexes
    # CONCURRENTLY, which waits for every transaction there is.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})")):
            time.sleep(0.2)
        try:
            yield
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))


if __name__ == "__main__":
    revise(" ".join(sys.argv[1:]))
