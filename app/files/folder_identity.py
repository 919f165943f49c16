"""The identity of a data folder's database: one random id, in its row and in the folder's file.

    refuse_used(settings)   before the tables of a new database are made
    check(settings)         the same as claim, without a mark
    claim(settings)         before anything else in the folder is read, written or removed
    switch(settings, id)    when another database has taken over its rows
    check_open(session, settings)   before a command reads a database that may have been left

A folder of before there were ids has no file. The database that knows one of its blobs takes it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

from sqlalchemy import inspect, make_url, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Component, DatabaseIdentity, Dataset, Tombstone
from app.files import folders, private_folder
from app.settings import BadSettings, Settings

FILE = "database-id"
CURE = "set TANGENT_DATA_DIR and TANGENT_DATABASE_URL to a folder and a database that go together"
OR_GIVE = "or remove that file if the folder is to be this database's from now on"


def refuse_used(settings: Settings) -> None:
    """Check the folder of a database that has no table yet; write nothing.

    Raises:
        BadSettings: the folder has been used with another database.
    """
    marked = _marked(settings)
    if marked is not None:
        raise BadSettings(
            f"{_used(settings, marked)}, and {named(settings)} is empty: {CURE}, {OR_GIVE}"
        )
    if next(_blobs(settings), None) is not None:
        raise _unknown(settings)


def claim(settings: Settings) -> None:
    """Make sure that folder and database belong together; mark both if neither belongs elsewhere.

    Of processes that start at once on one folder, those on one database all succeed, and those on
    another are all refused. The folder is closed to other users once it is known to be ours.

    Raises:
        BadSettings: they do not belong together; nothing was written.
    """
    engine = open_engine(settings)
    try:
        reading, sessions = session_factory(engine, read_only=True), session_factory(engine)
        marked = _marked(settings)
        with transaction(reading) as session:
            own = _checked(session, settings, marked)
        if own is None:
            with transaction(sessions) as session:
                own = _added(session, marked or token_hex(16))
    finally:
        engine.dispose()
    if marked is None:
        marked = _mark(settings, own)
    if marked != own:
        raise _other(settings, own, marked)
    private_folder.close(settings.data_dir)


def check(settings: Settings) -> None:
    """Check that `claim` would accept folder and database; write nothing.

    Raises:
        BadSettings: they do not belong together.
    """
    engine = open_engine(settings)
    try:
        marked = _marked(settings)
        with transaction(session_factory(engine, read_only=True)) as session:
            _checked(session, settings, marked)
    finally:
        engine.dispose()


def _checked(session: Session, settings: Settings, marked: str | None) -> str | None:
    """Return the database's id, which is the folder's if there are both.

    The folder's id is read before the session: a process that claims both writes them in the other
    order, so whoever sees its mark sees its row too.
    """
    own = own_id(session)
    check_open(session, settings)
    if own is None or marked is None:
        _check_known(session, settings, own, marked)
    elif own != marked:
        raise _other(settings, own, marked)
    return own


def check_open(session: Session, settings: Settings) -> None:
    """Check that the database was not moved away, and is not of a restore that was not finished.

    Raises:
        BadSettings: it is; the message says where its rows are, or what to do.
    """
    reason = closed(session)
    if reason is not None:
        raise BadSettings(f"{named(settings)} must not be used: {reason}")


def closed(session: Session) -> str | None:
    """Return the reason why the session's database must not be used; None if it may be.

    Databases of before there were such reasons have no place for one.
    """
    tables, name = inspect(session.connection()), DatabaseIdentity.__tablename__
    columns = tables.get_columns(name) if tables.has_table(name) else []
    if all(each["name"] != DatabaseIdentity.closed.key for each in columns):
        return None
    return session.scalar(select(DatabaseIdentity.closed))


def _check_known(session: Session, settings: Settings, own: str | None, marked: str | None) -> None:
    """Raise BadSettings unless the database knows a blob of the folder, or may take it empty."""
    subjects = {parts[1] for parts in _blobs(settings) if len(parts) > 2}
    if any(_knows(session, subject) for subject in subjects):
        return
    if marked is not None:
        raise BadSettings(
            f"{_used(settings, marked)}, and {named(settings)} has no id yet and knows none of "
            f"its files: {CURE}, {OR_GIVE}"
        )
    if next(_blobs(settings), None) is not None:
        raise _unknown(settings)
    if own is not None and _has_files(session):
        raise BadSettings(
            f"the data folder {_folder(settings)} is empty, and {named(settings)} has files in "
            f"another: set TANGENT_DATA_DIR to that one, or write {own} into "
            f"{_folder(settings) / FILE} to go on without them"
        )


def _knows(session: Session, subject_id: str) -> bool:
    return any(session.get(table, subject_id) for table in (Dataset, Component, Tombstone))


def _has_files(session: Session) -> bool:
    stored = select(Component.id).where(Component.blob_key.is_not(None)).limit(1)
    return any(session.scalar(each) for each in (select(Dataset.id).limit(1), stored))


def own_id(session: Session) -> str | None:
    """Return the id of the session's database; None before one was given."""
    return session.scalar(select(DatabaseIdentity.id))


def _added(session: Session, own: str) -> str:
    """Give the database this id, unless another process has given it one; return what it has."""
    try:
        with session.begin_nested():
            session.add(DatabaseIdentity(number=1, id=own))
    except IntegrityError:
        return str(own_id(session))
    return own


def _folder(settings: Settings) -> Path:
    return settings.data_dir.absolute()


def _marked(settings: Settings) -> str | None:
    """Return the id in the folder's file; None without a file."""
    try:
        return (_folder(settings) / FILE).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None


def _mark(settings: Settings, own: str) -> str:
    """Write the id into the folder, unless another process has; return the id that is there."""
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{FILE}.{token_hex(8)}"
    try:
        _write(draft, own)
        try:
            os.link(draft, folder / FILE)  # whole at once, and never over another's
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not (folder / FILE).exists():
                draft.replace(folder / FILE)
    finally:
        draft.unlink(missing_ok=True)
    return str(_marked(settings))


def switch(settings: Settings, new_id: str) -> None:
    """Give the folder to the database with this id, at once and in place of any other."""
    draft = _folder(settings) / f"{FILE}.{token_hex(8)}"
    _write(draft, new_id)
    draft.replace(_folder(settings) / FILE)


def _write(draft: Path, own: str) -> None:
    with draft.open("w") as file:
        file.write(f"{own}\n")
        file.flush()
        os.fsync(file.fileno())


def _blobs(settings: Settings) -> Iterator[tuple[str, ...]]:
    """Yield the keys of the folder's blobs, in parts; make no folder."""
    root = _folder(settings) / "blobs"
    return (path.relative_to(root).parts for path in folders.files(root))


def named(settings: Settings) -> str:
    """Return the database's name for messages, without its password."""
    url = make_url(settings.sql_url).render_as_string(hide_password=True)
    return f"the database {url}"


def _used(settings: Settings, marked: str) -> str:
    where = _folder(settings) / FILE
    return f"the data folder belongs to another database: {where} says {marked[:80]!r}"


def _other(settings: Settings, own: str, marked: str) -> BadSettings:
    return BadSettings(
        f"{_used(settings, marked)}, and {named(settings)} has the id {own!r}: {CURE}, {OR_GIVE}"
    )


def _unknown(settings: Settings) -> BadSettings:
    return BadSettings(
        f"the data folder {_folder(settings)} holds files of another database: "
        f"{named(settings)} knows none of them: {CURE}"
    )
