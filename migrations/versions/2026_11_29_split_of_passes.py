"""Evaluations and batch predictions may take one split of a dataset."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_split_of_passes"
down_revision = "2026_11_28_names_and_metadata"
branch_labels = None
depends_on = None

TABLES = ("evaluation", "batch_prediction")


def upgrade() -> None:
    for name in TABLES:
        op.add_column(name, sa.Column("split", sa.String(), nullable=True))


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_column(name, "split")
