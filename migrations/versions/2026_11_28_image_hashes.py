"""Images can be found: by the hash of their bytes, and by one of their looks."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_image_hashes"
down_revision = "2026_11_28_passes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image", sa.Column("perceptual_hash", sa.String(), nullable=True))
    op.create_index(op.f("ix_image_sha256"), "image", ["sha256"])


def downgrade() -> None:
    op.drop_index(op.f("ix_image_sha256"), table_name="image")
    op.drop_column("image", "perceptual_hash")
