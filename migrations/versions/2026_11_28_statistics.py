"""Components may be imported from files without statistics.

No table is rebuilt, see 2026_11_24_image_deletion.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_statistics"
down_revision = "2026_11_29_split_of_passes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column: sa.Column[bool] = sa.Column(
        "statistics", sa.Boolean(), nullable=False, server_default=sa.true()
    )
    op.add_column("component", column)


def downgrade() -> None:
    op.drop_column("component", "statistics")
