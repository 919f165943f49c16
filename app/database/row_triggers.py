"""Triggers that give each row its checksum whenever it is written, whoever writes it.

    suspend(connection, tables)     before revisions, which change columns and rows at will
    resume(connection, tables)      after them
    are_there(connection, tables)   nothing is to be done if no revision is to come

No revision needs to know of them. On SQLite they call a function that each of our connections has.
"""

from collections.abc import Iterable

from sqlalchemy import Column, Connection, MetaData, Table, inspect, update

from app.database.row_checksums import (
    COLUMN,
    DAMAGED,
    RowChecksum,
    expression,
    is_intact,
    sealed,
)

WHENS = {"sqlite": ("sealed", "sealed_again"), "postgresql": ("sealed",)}
# Of Postgres, without those that are switched off.
NAMES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger "
    "WHERE tgenabled IN ('O', 'A') AND pg_table_is_visible(tgrelid)",
}


def are_there(connection: Connection, tables: Iterable[str]) -> bool:
    """Return whether every one of the tables has its triggers; lock and change nothing."""
    dialect = connection.dialect.name
    found = set(connection.exec_driver_sql(NAMES[dialect]).scalars())
    return found >= {f"{table}_{when}" for table in tables for when in WHENS[dialect]}


def suspend(connection: Connection, tables: Iterable[str]) -> None:
    """Remove the triggers before the schema changes; what is damaged by then stays so marked."""
    for table in _present(connection, tables):
        for statement in _drops(connection.dialect.name, table.name):
            connection.exec_driver_sql(statement)
        if COLUMN in table.columns:
            broken = update(table).where(~is_intact(table), table.c[COLUMN].is_not(None))
            connection.execute(broken.values({COLUMN: DAMAGED}))


def resume(connection: Connection, tables: Iterable[str]) -> None:
    """Seal every row of the schema as it is now, and make the triggers that go on doing so."""
    for table in _present(connection, tables):
        if COLUMN not in table.columns:
            continue
        unmarked = update(table).where(table.c[COLUMN].is_distinct_from(DAMAGED))
        connection.execute(unmarked.values({COLUMN: RowChecksum(*sealed(table))}))
        for statement in _triggers(connection.dialect.name, table):
            connection.exec_driver_sql(statement)


def _present(connection: Connection, tables: Iterable[str]) -> list[Table]:
    """Return these tables as they are in the database, whatever its version."""
    found = inspect(connection)
    return [
        Table(name, MetaData(), *(Column(c["name"], c["type"]) for c in found.get_columns(name)))
        for name in tables
    ]


def _drops(dialect: str, table: str) -> list[str]:
    if dialect == "sqlite":
        return [f'DROP TRIGGER IF EXISTS "{table}_{when}"' for when in WHENS[dialect]]
    return [f'DROP FUNCTION IF EXISTS "{table}_sealed" CASCADE']


def _triggers(dialect: str, table: Table) -> list[str]:
    names = [f'"{each.name}"' for each in sealed(table)]
    of = ", ".join(names)
    if dialect == "sqlite":
        columns = [(each.type, f'"{each.name}"') for each in sealed(table)]
        change = f'UPDATE "{table.name}" SET {COLUMN} = {expression(dialect, columns)}'  # noqa: S608 names of our own
        seal = f'ON "{table.name}" BEGIN {change} WHERE rowid = NEW.rowid; END'
        return [
            f'CREATE TRIGGER "{table.name}_sealed" AFTER INSERT {seal}',
            f'CREATE TRIGGER "{table.name}_sealed_again" AFTER UPDATE OF {of} {seal}',
        ]
    columns = [(each.type, f'NEW."{each.name}"') for each in sealed(table)]
    return [
        f'CREATE FUNCTION "{table.name}_sealed"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN '
        f"NEW.{COLUMN} := {expression(dialect, columns)}; RETURN NEW; END $$",
        f'CREATE TRIGGER "{table.name}_sealed" BEFORE INSERT OR UPDATE OF {of} ON "{table.name}" '
        f'FOR EACH ROW EXECUTE FUNCTION "{table.name}_sealed"()',
    ]
