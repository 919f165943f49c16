"""One cache of compiled statements for all engines of a kind: a process of its own compiles anew.

A simulation opens thousands of engines, and would spend most of its time in compiling.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import sqlalchemy

OPENERS = ("app.database.sessions", "app.database.jobs", "app.database.postgres_connections")


@contextmanager
def statements_compiled_once() -> Iterator[None]:
    """Let every engine that is opened in the block know the statements of those before it."""
    known: dict[str, tuple[Any, Any]] = {}

    def create(*arguments: Any, **options: Any) -> sqlalchemy.Engine:
        made = sqlalchemy.create_engine(*arguments, **options)
        own = made.dialect, made._compiled_cache
        # Statements are kept under their dialect, so that the engines must share it too.
        made.dialect, made._compiled_cache = known.setdefault(made.dialect.name, own)
        made.pool._dialect = made.dialect
        return made

    with ExitStack() as stack:
        for module in OPENERS:
            stack.enter_context(patch(f"{module}.create_engine", create))
        yield
