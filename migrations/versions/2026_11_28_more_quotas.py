"""More quotas of a key, and the keys that made compositions and evaluations.

No table is rebuilt, see 2026_11_24_image_deletion. What is there already counts for nobody.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_more_quotas"
down_revision = "2026_11_28_reaper_lease"
branch_labels = None
depends_on = None

QUOTAS = (
    *("max_components", "max_spaces", "max_compositions", "max_evaluations"),
    "max_concurrent_requests",
)
MADE = ("composition", "evaluation")


def upgrade() -> None:
    for name in QUOTAS:
        op.add_column("api_key", sa.Column(name, sa.Integer(), nullable=True))
    for table in MADE:
        op.add_column(table, sa.Column("created_by", sa.String(), nullable=True))


def downgrade() -> None:
    for table in reversed(MADE):
        op.drop_column(table, "created_by")
    for name in reversed(QUOTAS):
        op.drop_column("api_key", name)
