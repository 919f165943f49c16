"""Images have a split and a group, and datasets tell how many images are in each split.

Datasets of before have none: their components were trained on all images, and still are.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_splits_and_groups"
down_revision = "2026_11_28_image_hashes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image", sa.Column("split", sa.String(), nullable=True))
    op.add_column("image", sa.Column("group", sa.String(), nullable=True))
    op.add_column("dataset", sa.Column("splits", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("dataset", "splits")
    op.drop_column("image", "group")
    op.drop_column("image", "split")
