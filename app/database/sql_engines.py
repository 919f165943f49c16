"""SQL engines whose errors tell no values: an error goes to the log, which outlives deletions.

An error keeps its class, its statement without parameters, and the database's sentence with its
code. What the database adds to that (Postgres: the detail with the row or the key, the context
with the parameters) is left out, as is a sentence that repeats a value.
"""

import sqlite3
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, ExceptionContext, event
from sqlalchemy import create_engine as create_any

DATA_EXCEPTION = "22"  # Postgres' class of errors whose sentence may repeat a value
# Beginnings of SQLite's sentences that go on with a value.
WITH_VALUE = "Could not decode to UTF-8 column"
VALUE = " with text "
WITHHELD = "a value does not fit; which one is not told, as the log outlives deletions"


def create_engine(url: str | URL, **options: Any) -> Engine:
    """Create an engine, as SQLAlchemy does."""
    made = create_any(url, hide_parameters=True, **options)
    event.listen(made, "handle_error", _withhold)
    return made


def _withhold(context: ExceptionContext) -> None:
    """Take the values out of the driver's error, and of SQLAlchemy's around it."""
    error = context.original_exception
    sentence = _without_values(error)
    if sentence is None:
        return
    error.args = (sentence,)
    if context.sqlalchemy_exception is not None:
        kind = type(error)
        named = f"({kind.__module__}.{kind.__qualname__}) {sentence}"
        context.sqlalchemy_exception.args = (named,)


def _without_values(error: BaseException) -> str | None:
    """Return what of the error's text is free of values; None if all of it is."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary is not None:
        state = error.diag.sqlstate or ""
        told = WITHHELD if state.startswith(DATA_EXCEPTION) else error.diag.message_primary
        return f"{told} (SQLSTATE {state})"
    if isinstance(error, sqlite3.Error) and str(error).startswith(WITH_VALUE):
        return str(error).partition(VALUE)[0]
    return None
