"""One cache of compiled statements for all engines of a kind: a process of its own compiles anew.

A simulation opens thousands of engines, and would spend most of its time in compiling.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine.default import DefaultDialect

from app.database import sql_engines


@contextmanager
def statements_compiled_once() -> Iterator[None]:
    """Let every engine that is opened in the block know the statements of those before it."""
    known: dict[str, Any] = {}

    def create(*arguments: Any, **options: Any) -> Engine:
        made = create_engine(*arguments, **options)
        made.dialect.__class__ = _shared(type(made.dialect))
        made._compiled_cache = known.setdefault(made.dialect.name, made._compiled_cache)
        return made

    with patch.object(sql_engines, "create_any", create):
        yield


@cache
def _shared(kind: type[DefaultDialect]) -> type[DefaultDialect]:
    """Return the dialect whose instances are equal: a statement is kept together with its dialect.

    All other dialects keep their hashes: by them the mappers' caches, which outlive the block,
    find what they drop, and look for ever if they do not find it.
    """
    members = {"__hash__": lambda own: hash(own.name), "__eq__": _are_alike}
    return type(kind.__name__, (kind,), members | {"supports_statement_cache": True})


def _are_alike(one: DefaultDialect, other: object) -> bool:
    return type(one) is type(other)
