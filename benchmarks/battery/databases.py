"""The databases that the battery runs on: a file in the data folder, or a new one on Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg

SERVER = "postgresql://postgres@127.0.0.1:5432"
KINDS = ("SQLite", "Postgres")


@contextmanager
def made(kind: str, server: str) -> Iterator[str | None]:
    """Yield the URL of a new database, which is dropped afterwards; None for SQLite.

    Raises:
        psycopg.OperationalError: no Postgres answers there.
    """
    if kind == "SQLite":
        yield None
        return
    with psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=3) as connection:
        name = f"tangent_battery_{uuid4().hex[:12]}"
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
