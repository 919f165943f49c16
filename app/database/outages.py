"""Outages: errors of the database, the disk and the machine that another try may not meet.

`problem_of` names the outage behind an error by the error's kind, wherever it was raised. An error
of any other kind is a fault of the service itself.
"""

import errno
import logging
import sqlite3
from collections.abc import Iterator
from typing import Any

from sqlalchemy import exc

from app.database.sessions import Unsettled
from app.errors import DiskFull, NotReady, Problem

SECONDS = {
    "database_busy": 1,
    "outcome_unknown": 5,
    "database_unavailable": 5,
    "database_damaged": 60,
    "storage_unavailable": 30,
    "out_of_resources": 5,
    "out_of_memory": 30,
    "disk_full": 60,
}
AGAIN = "try again in {seconds} s, with the same Idempotency-Key if the request creates something"
DETAILS = {
    "database_busy": "the database was busy for longer than a request may wait, as when another "
    "program holds its lock or too many requests run at once: " + AGAIN,
    "outcome_unknown": "the connection to the database was lost while this request was being "
    "stored, and nobody says whether it was: look whether it took place before you repeat it; a "
    "repetition with the same Idempotency-Key creates nothing twice",
    "database_unavailable": "the database does not answer: " + AGAIN + "; GET /readyz tells when "
    "it answers again",
    "database_damaged": "the database's file is damaged: the operator has to restore it from a "
    "backup; the service's log says more under this request_id",
    "storage_unavailable": "the service's data folder cannot be read or written: the operator has "
    "to see to its disk and its permissions; the service's log says more under this request_id",
    "out_of_resources": "the service has no files, processes or threads left: " + AGAIN,
    "out_of_memory": "the service's memory was not enough for this request: send less at a time, "
    "or give the service more memory",
    "disk_full": "the disk of the service has no room left: delete datasets or components that are "
    "no longer needed, or give the service a larger disk; a deletion needs a little room too",
}
SQLITE = {
    sqlite3.SQLITE_BUSY: "database_busy",
    sqlite3.SQLITE_LOCKED: "database_busy",
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_NOMEM: "out_of_memory",
    sqlite3.SQLITE_CORRUPT: "database_damaged",
    sqlite3.SQLITE_NOTADB: "database_damaged",
    sqlite3.SQLITE_PERM: "database_unavailable",
    sqlite3.SQLITE_READONLY: "database_unavailable",
    sqlite3.SQLITE_IOERR: "database_unavailable",
    sqlite3.SQLITE_CANTOPEN: "database_unavailable",
    sqlite3.SQLITE_PROTOCOL: "database_busy",
}
SQLITE_IOERR_SHMSIZE = 4874  # the index beside the log cannot grow, as on a full disk
# Beginnings of Postgres' SQLSTATEs; the longest that fits decides.
POSTGRES = {
    "08": "database_unavailable",  # the connection
    "28": "database_unavailable",  # the password
    "3D": "database_unavailable",  # the database's name
    "57P": "database_unavailable",  # shut down, or starting
    "25P03": "database_unavailable",  # the server ended an idle transaction
    "25006": "database_unavailable",  # a replica, which only reads
    "58": "database_unavailable",
    "XX001": "database_damaged",
    "XX002": "database_damaged",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "53300": "database_busy",  # its connections are all in use
    "55P03": "database_busy",  # a lock
    "57014": "database_busy",  # a statement that took too long
    "40001": "database_busy",
    "40P01": "database_busy",
}
OS = {
    "disk_full": (errno.ENOSPC, errno.EDQUOT),
    "out_of_resources": (errno.EMFILE, errno.ENFILE, errno.EAGAIN),
    "out_of_memory": (errno.ENOMEM,),
    "storage_unavailable": (
        *(errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENXIO),
        *(errno.ENODEV, errno.ENOTCONN, errno.EHOSTDOWN, errno.EREMOTEIO, errno.ETIMEDOUT),
    ),
}
NO_MEMORY = ("can't allocate memory", "out of memory")  # of torch, which raises RuntimeError
UNREADABLE = (
    *("Could not decode to UTF-8", "malformed JSON", "malformed database schema"),
    "user-defined function raised exception",  # that of row_checksums, by a text that is none
)
NO_THREAD = "can't start new thread"


def problem_of(error: BaseException) -> Problem | None:
    """Return the outage's problem, with `retry_after`; None for a fault of the service itself."""
    code = next((found for each in _causes(error) if (found := _code(each))), None)
    return None if code is None else problem(code)


def problem(code: str) -> Problem:
    """Return the problem with this code, one of SECONDS."""
    seconds = SECONDS[code]
    family = DiskFull if code == "disk_full" else NotReady
    return family(code, DETAILS[code].format(seconds=seconds), retry_after=seconds)


def log_failure(log: logging.Logger, error: Exception, words: str, *given: object) -> None:
    """Log an error that nobody is told of: an outage in one line, a fault with its traceback."""
    if (outage := problem_of(error)) is None:
        log.error(words, *given, exc_info=error)
    else:
        log.warning(f"{words}: %s: %s", *given, outage.code, error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        # After some errors SQLite has rolled back, and the driver fails on what it does next.
        of_database = isinstance(error, exc.SQLAlchemyError | sqlite3.Error)
        error = error.__cause__ or (error.__context__ if of_database else None)


def _code(error: BaseException) -> str | None:
    if isinstance(error, Unsettled):
        return "outcome_unknown"
    if isinstance(error, exc.TimeoutError):
        return "database_busy"  # every connection of the pool is in use
    if isinstance(error, exc.PendingRollbackError | exc.DisconnectionError):
        return "database_unavailable"
    if isinstance(error, exc.DBAPIError):
        return _of_driver(error.orig) or ("database_unavailable" if _is_cut(error) else None)
    if isinstance(error, sqlite3.Error):
        return _of_driver(error)
    if isinstance(error, OSError):
        return next((code for code, numbers in OS.items() if error.errno in numbers), None)
    if isinstance(error, MemoryError):
        return "out_of_memory"
    if isinstance(error, RuntimeError):
        return _of_text(str(error))
    return None


def _of_driver(error: Any) -> str | None:
    """Return the code of an error of sqlite3 or psycopg."""
    if isinstance(error, sqlite3.Error):
        number = getattr(error, "sqlite_errorcode", None)
        if str(error).startswith(UNREADABLE):  # in a damaged row
            return "database_damaged"
        if number is None:
            return None
        return "disk_full" if number == SQLITE_IOERR_SHMSIZE else SQLITE.get(number & 0xFF)
    state = getattr(error, "sqlstate", None) or ""
    return next((POSTGRES[state[:n]] for n in (5, 3, 2) if state[:n] in POSTGRES), None)


def _is_cut(error: exc.DBAPIError) -> bool:
    """Return whether the connection was lost or never made: an error without a server's number."""
    nameless = getattr(error.orig, "sqlstate", None) is None
    kinds = exc.OperationalError | exc.InterfaceError
    is_sqlite = isinstance(error.orig, sqlite3.Error)
    return error.connection_invalidated or (isinstance(error, kinds) and nameless and not is_sqlite)


def _of_text(text: str) -> str | None:
    if any(words in text for words in NO_MEMORY):
        return "out_of_memory"
    return "out_of_resources" if NO_THREAD in text else None
