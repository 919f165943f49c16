"""Signatures of receipts, and the public keys that check them."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_24_receipt_signatures"
down_revision = "2026_11_24_image_deletion"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "receipt_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_receipt_key"),
    )
    op.add_column("receipt", sa.Column("key_id", sa.String(), nullable=True))
    op.add_column("receipt", sa.Column("signature", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("receipt", "signature")
    op.drop_column("receipt", "key_id")
    op.drop_table("receipt_key")
