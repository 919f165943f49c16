"""The API processes, and the deletions that each of them has confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_answering_processes"
down_revision = "2026_11_28_row_checksums"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "answering_process",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("lease_seconds", sa.Double(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answering_process")),
    )


def downgrade() -> None:
    op.drop_table("answering_process")
