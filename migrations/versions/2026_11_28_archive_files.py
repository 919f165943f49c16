"""Datasets that tell how many files their archive had, by outcome."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_archive_files"
down_revision = "2026_11_28_blob_intents"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dataset", sa.Column("files", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("dataset", "files")
