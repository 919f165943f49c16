"""Runs the revisions on the connection that app.database.migrate hands over."""

from alembic import context
from sqlalchemy import inspect

from app.database import row_triggers
from app.database.migrate import is_ours
from app.database.tables import Base

CONNECTION = context.config.attributes["connection"]


def our_tables() -> list[str]:
    """Return the names of those of our tables that there are at the present revision."""
    names = inspect(CONNECTION).get_table_names()
    return [name for name in names if is_ours(name, "table", None)]


context.configure(
    connection=CONNECTION,
    target_metadata=Base.metadata,
    include_name=is_ours,
    render_as_batch=True,  # SQLite changes a table by rebuilding it
    transactional_ddl=True,  # also on SQLite: app.database.sessions begins and commits by itself
)
with context.begin_transaction():
    row_triggers.suspend(CONNECTION, our_tables())  # revisions change rows and columns at will
    context.run_migrations()
    row_triggers.resume(CONNECTION, our_tables())
