"""Runs the revisions on the connection that app.database.migrate hands over."""

from alembic import context

from app.database.migrate import is_ours
from app.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_name=is_ours,
    render_as_batch=True,  # SQLite changes a table by rebuilding it
    transactional_ddl=True,  # also on SQLite: app.database.sessions begins and commits by itself
)
with context.begin_transaction():
    context.run_migrations()
