"""Empty databases on the Postgres server of this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

SERVER = "postgresql://postgres@127.0.0.1:5432"


@contextmanager
def database(server: str = SERVER, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a new database, a copy of the template, dropped afterwards.

    Where no server answers, the test is skipped, but fails in CI.
    """
    try:
        connection = psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run this test on Postgres, but none answers at {server}: {error}")
        pytest.skip(f"no Postgres answers at {server}: {error}")
    name = f"tangent_test_{uuid4().hex[:12]}"
    with connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
