"""The unit of a private training may be a group; a spend notes how large the groups were."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_privacy_units"
down_revision = "2026_11_29_privacy"
branch_labels = None
depends_on = None


def upgrade() -> None:
    unit = sa.Column("unit", sa.String(), nullable=False, server_default="image")
    op.add_column("privacy_spend", unit)
    op.add_column("privacy_spend", sa.Column("largest_group", sa.Integer(), nullable=True))
    with op.batch_alter_table("privacy_spend") as table:
        table.alter_column("unit", server_default=None)


def downgrade() -> None:
    op.drop_column("privacy_spend", "largest_group")
    op.drop_column("privacy_spend", "unit")
