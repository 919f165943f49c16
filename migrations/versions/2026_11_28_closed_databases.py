"""The reason why a database must not be served: it was moved away, or is being restored."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_closed_databases"
down_revision = "2026_11_28_archive_files"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("database_identity", sa.Column("closed", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("database_identity", "closed")
