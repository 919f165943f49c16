"""Checksums of rows: the database seals each row whenever it is written, and reading checks it.

    row.intact                       loaded with every row: whether its columns fit its checksum
    damaged_keys(session, table)     the keys of all rows that do not

SQLite notices damage of its structure, not of a value, and neither does Postgres unless its pages
have checksums. Triggers make the checksum, so no statement of whatever program can forget it, and
what compares it is the same expression. A row that does not fit is not served: `DamagedRow`. An
UPDATE leaves such a row alone, as it would seal the damage (`only_intact`).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Float,
    LargeBinary,
    String,
    Table,
    Update,
    cast,
    event,
    inspect,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapper, Session, column_property
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.errors import NotReady

COLUMN, FUNCTION = "checksum", "row_checksum"
DAMAGED = "damaged"  # in place of the checksum of a row that was damaged before it was copied
# Execution option of a query whose caller looks at each row, by `was_kept`.
KEPT = {"damaged_rows_kept": True}
ROWS_AT_ONCE = 5000


class DamagedRow(NotReady):
    """A row of the database whose columns are not those that were written."""


def damaged_row(name: str) -> DamagedRow:
    """Return the error of the row with this name for people."""
    return DamagedRow(
        "row_damaged",
        f"{name} is damaged in the database, and is not used: the operator has to restore a "
        "backup; `tangent doctor` lists all that are damaged",
    )


def read_json(data: str | bytes) -> Any:
    """Return the value of a JSON column.

    Raises:
        DamagedRow: it is no JSON any more.
    """
    try:
        return json.loads(data)
    except ValueError:
        raise damaged_row("a row with JSON") from None


class RowChecksum(FunctionElement[str]):
    """The checksum of the columns that are its arguments."""

    type = String()
    inherit_cache = True
    name = FUNCTION


@compiles(RowChecksum, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    columns = [(each.type, compiler.process(each, **options)) for each in element.clauses]
    return expression("sqlite", columns)


@compiles(RowChecksum, "postgresql")
def _on_postgres(element: Any, compiler: Any, **options: Any) -> str:
    columns = [(each.type, compiler.process(each, **options)) for each in element.clauses]
    return expression("postgresql", columns)


def of_values(*values: Any) -> str:
    """Return the checksum on SQLite, where it is a function of SQL."""
    return hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()


def expression(dialect: str, columns: Sequence[tuple[TypeEngine[Any], str]]) -> str:
    """Return the SQL of the checksum; columns are types and their SQL.

    It depends on no setting of the session, and fails on no value, whatever a flipped bit made.
    """
    if dialect == "sqlite":
        # Short, as triggers repeat it, and a bit of one may cost the whole database; as bytes,
        # as it may be no text after damage. Versions of SQLite differ in how they quote floats.
        floats = [sql for type_, sql in columns if _is_float(type_)]
        quoted = "||','||".join(f"quote({sql})" for _, sql in columns if sql not in floats)
        return f"{FUNCTION}({', '.join([f'CAST({quoted} AS BLOB)', *floats])})"
    fixed = ", ".join(_fixed(type_, sql) for type_, sql in columns)
    return f"md5(CAST(ROW({fixed}) AS TEXT))"


def _fixed(type_: TypeEngine[Any], sql: str) -> str:
    """Return the column's value on Postgres in a form that no setting of a session changes."""
    if isinstance(_plain(type_), DateTime):
        return f"EXTRACT(EPOCH FROM {sql})"
    return f"encode(float8send({sql}), 'hex')" if _is_float(type_) else sql


def _is_float(type_: TypeEngine[Any]) -> bool:
    return isinstance(_plain(type_), Float)


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    return type_.impl_instance if isinstance(type_, TypeDecorator) else type_


def sealed(table: Table) -> list[Column[Any]]:
    """Return the columns that the checksum covers: all others, in the order of their names."""
    return sorted((each for each in table.columns if each.name != COLUMN), key=lambda c: c.name)


def is_intact(table: Table) -> Any:
    """Return the condition that a row of the table fits its checksum."""
    return table.c[COLUMN].is_not_distinct_from(RowChecksum(*sealed(table)))


def watch(mappers: Sequence[Mapper[Any]]) -> None:
    """Give each class with a checksum the attribute `intact`, and refuse to load a damaged row."""
    for mapper in mappers:
        table = mapper.local_table
        if isinstance(table, Table) and COLUMN in table.columns:
            condition = is_intact(table).label(None)
            mapper.add_property("intact", column_property(condition, expire_on_flush=False))
            event.listen(mapper.class_, "load", _check_loaded)
            event.listen(mapper.class_, "refresh", _check_refreshed)


def _check_loaded(row: Any, context: Any) -> None:
    if was_kept(row) and not context.query.get_execution_options().get("damaged_rows_kept"):
        raise damaged_row(name_of(row))


def _check_refreshed(row: Any, context: Any, _attributes: Any) -> None:
    _check_loaded(row, context)


def name_of(row: Any) -> str:
    """Return the name of a row for people."""
    mapper = inspect(row).mapper
    return named(mapper.local_table, mapper.primary_key_from_instance(row))


def named(table: Any, key: Sequence[Any]) -> str:
    """Return the name of the row with this key for people: its table and its key."""
    return " ".join([table.name.replace("_", " "), *map(str, key)])


def was_kept(row: Any) -> bool:
    """Return whether the row is damaged, and was loaded by a query that keeps such rows."""
    return row.__dict__.get("intact") is False


def only_intact(statement: Update) -> Update:
    """Return the statement that leaves damaged rows as they are."""
    table = statement.table
    if isinstance(table, Table) and COLUMN in table.columns:
        return statement.where(is_intact(table))
    return statement


def damaged_keys(session: Session, table: Table) -> Iterator[tuple[Any, ...]]:
    """Yield the keys of the table's damaged rows, a bounded number of rows at a time."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    key: list[Any] = list(table.primary_key.columns)
    # SQLite: by the place of a row, and as bytes, for the key may be what is damaged.
    order: list[Any] = [literal_column("rowid")] if is_sqlite else key
    shown = [cast(each, LargeBinary) for each in key] if is_sqlite else key
    last: tuple[Any, ...] | None = None
    while True:
        query = select(*order, is_intact(table), *shown).order_by(*order).limit(ROWS_AT_ONCE)
        if last is not None:
            query = query.where(tuple_(*order) > tuple_(*last))
        rows = session.execute(query).all()
        yield from (_readable(row[-len(key) :]) for row in rows if not row[len(order)])
        if len(rows) < ROWS_AT_ONCE or (last is not None and rows[-1][: len(order)] <= last):
            return
        last = tuple(rows[-1][: len(order)])


def _readable(key: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(each.decode(errors="replace") if isinstance(each, bytes) else each for each in key)


def mark(session: Session, table: Table, keys: Iterable[tuple[Any, ...]]) -> None:
    """Mark these rows as damaged, which a copy of them would not show."""
    columns = list(table.primary_key.columns)
    for key in keys:
        same = [
            cast(column, String) == str(each) for column, each in zip(columns, key, strict=True)
        ]
        session.execute(update(table).where(*same).values({COLUMN: DAMAGED}))
