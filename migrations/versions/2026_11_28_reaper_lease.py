"""The lease of the worker that hands back the jobs of dead ones."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_reaper_lease"
down_revision = "2026_11_28_ledger_order"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reaper_lease",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_reaper_lease")),
    )


def downgrade() -> None:
    op.drop_table("reaper_lease")
