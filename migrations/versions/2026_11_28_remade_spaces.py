"""The number of the last receipt before a space's components changed without a receipt."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_remade_spaces"
down_revision = "2026_11_28_closed_databases"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("remade_after", sa.Integer(), nullable=False, server_default="0")
    op.add_column("space", column)


def downgrade() -> None:
    op.drop_column("space", "remade_after")
