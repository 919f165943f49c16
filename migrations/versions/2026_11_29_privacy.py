"""Components can be private: their terms, what a dataset has spent, and how much it may."""

import sqlalchemy as sa
from alembic import op

from app.database.columns import UtcDateTime

revision = "2026_11_29_privacy"
down_revision = "2026_11_29_fitted_to"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("component", sa.Column("privacy", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("dataset", sa.Column("privacy_budget", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "privacy_spend",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("component_id", sa.String(), nullable=False),
        sa.Column("epsilon", sa.Double(), nullable=False),
        sa.Column("delta", sa.Double(), nullable=False),
        sa.Column("noise_multiplier", sa.Double(), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_privacy_spend")),
        sa.UniqueConstraint("component_id", name=op.f("uq_privacy_spend_component_id")),
    )
    op.create_index(op.f("ix_privacy_spend_dataset_id"), "privacy_spend", ["dataset_id"])


def downgrade() -> None:
    op.drop_table("privacy_spend")
    op.drop_column("dataset", "privacy_budget")
    op.drop_column("component", "privacy")
