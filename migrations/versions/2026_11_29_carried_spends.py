"""A spend goes on counting for the datasets that shared images with what is deleted."""

import sqlalchemy as sa
from alembic import op

from app.database.columns import UtcDateTime

revision = "2026_11_29_carried_spends"
down_revision = "2026_11_29_privacy_units"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "carried_spend",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("spend_id", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("largest_group", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["spend_id"],
            ["privacy_spend.id"],
            name=op.f("fk_carried_spend_spend_id_privacy_spend"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_carried_spend")),
        sa.UniqueConstraint("dataset_id", "spend_id", name=op.f("uq_carried_spend_dataset_id")),
    )
    op.create_index(op.f("ix_carried_spend_spend_id"), "carried_spend", ["spend_id"])


def downgrade() -> None:
    op.drop_table("carried_spend")
