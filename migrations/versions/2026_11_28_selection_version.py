"""The version of all that selections are made of."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_selection_version"
down_revision = "2026_11_28_answering_processes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    made = op.create_table(
        "selection_version",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_selection_version")),
    )
    op.bulk_insert(made, [{"number": 1, "version": 0}])


def downgrade() -> None:
    op.drop_table("selection_version")
