"""Owners of spaces, the keys that made datasets and components, and the audit log.

No table is rebuilt, see 2026_11_24_image_deletion. What is there already has no owner.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_owners_and_audit"
down_revision = "2026_11_28_api_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    shared: sa.Column[bool] = sa.Column(
        "shared", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("space", shared)
    op.add_column("space", sa.Column("owner", sa.String(), nullable=True))
    op.add_column("dataset", sa.Column("space", sa.String(), nullable=True))
    op.add_column("dataset", sa.Column("pack_bytes", sa.BigInteger(), nullable=True))
    for table in ("dataset", "component"):
        op.add_column(table, sa.Column("created_by", sa.String(), nullable=True))
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("objects", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index(op.f("ix_audit_log_key_id"), "audit_log", ["key_id"])


def downgrade() -> None:
    op.drop_table("audit_log")
    for table, column in (
        *(("component", "created_by"), ("dataset", "created_by"), ("dataset", "pack_bytes")),
        *(("dataset", "space"), ("space", "owner"), ("space", "shared")),
    ):
        op.drop_column(table, column)
