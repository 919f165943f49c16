"""Members of JSON columns, as conditions of a query that mean the same on both databases.

A value that damage has made unreadable has no members; else it would fail the whole query.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    String,
    case,
    column,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from app.database.row_checksums import is_intact

Pairs = Iterable[tuple[str, str]]


class json_texts(GenericFunction[Any]):  # named as in SQL
    """The members of a JSON object as rows of key and text."""

    inherit_cache = True


@compiles(json_texts, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each{compiler.function_argspec(element, **options)}"


@compiles(json_texts, "postgresql")
def _on_postgres(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_each_text{compiler.function_argspec(element, **options)}"


class _Readable(FunctionElement[bool]):
    """The condition that a JSON column can be read."""

    type = Boolean()
    inherit_cache = True
    name = "readable"


@compiles(_Readable, "sqlite")
def _readable_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"json_valid{compiler.function_argspec(element, **options)}"


@compiles(_Readable, "postgresql")
def _readable_on_postgres(element: Any, compiler: Any, **options: Any) -> str:
    (object_,) = element.clauses
    return str(compiler.process(is_intact(object_.table), **options))


def has_name(object_: InstrumentedAttribute[Any], names: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that the object has a member with one of these names."""
    members = func.json_each(_whole(object_)).table_valued("key", "value")
    return exists(select(1).select_from(members).where(members.c.key.in_(list(names))))


def has_pairs(object_: InstrumentedAttribute[Any], pairs: Pairs) -> list[ColumnElement[bool]]:
    """Return the conditions that the object has these texts under these names."""
    conditions: list[ColumnElement[bool]] = []
    for name, text in pairs:
        members = func.json_texts(_whole(object_)).table_valued(
            column("key", String), column("value", String)
        )
        same = members.c.key == name, members.c.value == text
        conditions.append(exists(select(1).select_from(members).where(*same)))
    return conditions


def _whole(object_: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    return case((_Readable(object_), object_), else_=literal_column("'{}'"))
