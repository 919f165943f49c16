"""The database's own id, which its data folder carries too."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_database_identity"
down_revision = "2026_11_24_receipt_signatures"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "database_identity",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_database_identity")),
    )


def downgrade() -> None:
    op.drop_table("database_identity")
