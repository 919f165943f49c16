"""Sessions of browsers, of whose cookies only a hash is stored."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_browser_sessions"
down_revision = "2026_11_29_carried_spends"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "browser_session",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("key_sha256", sa.String(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("expires_at", time, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_browser_session")),
    )
    op.create_index(op.f("ix_browser_session_key_id"), "browser_session", ["key_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_browser_session_key_id"), table_name="browser_session")
    op.drop_table("browser_session")
