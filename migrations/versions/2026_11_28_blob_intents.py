"""Keys of blobs that no row names, written down before the blob is written or given up."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_blob_intents"
down_revision = "2026_11_28_refinements"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blob_intent",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("given_up", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_blob_intent")),
    )


def downgrade() -> None:
    op.drop_table("blob_intent")
