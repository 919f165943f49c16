"""A component knows how many receipts there were when it became ready.

Of components from before, only times are known: they keep the order that those times say.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_ledger_order"
down_revision = "2026_11_28_owners_and_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("component", sa.Column("receipts_before", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE component SET receipts_before = (SELECT COUNT(*) FROM receipt "
        "WHERE receipt.created_at <= component.finished_at) "
        "WHERE status = 'ready' AND finished_at IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_column("component", "receipts_before")
