"""Damage of a database: bits of its file, or values past the triggers that seal rows."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text


def flip_bit(path: Path, bit: int) -> None:
    """Flip one bit of the file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def damage_row(engine: Engine, table: str, where: str, column: str, value: Any) -> None:
    """Change a value as damage would: without the triggers, which then stay away."""
    sqlite = f"DROP TRIGGER IF EXISTS {table}_sealed_again"
    postgres = f"ALTER TABLE {table} DISABLE TRIGGER USER"
    with engine.begin() as connection:
        connection.execute(text(sqlite if engine.dialect.name == "sqlite" else postgres))
        changed = connection.execute(
            text(f"UPDATE {table} SET {column} = :value WHERE {where}"), {"value": value}
        )
        assert changed.rowcount == 1
