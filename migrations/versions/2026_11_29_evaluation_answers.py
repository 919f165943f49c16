"""Evaluations keep what each image was answered; those of before have nothing of it."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_evaluation_answers"
down_revision = "2026_11_28_statistics"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "evaluation_answers",
        sa.Column("evaluation_id", sa.String(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("answered", sa.String(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_evaluation_answers_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", name=op.f("pk_evaluation_answers")),
    )


def downgrade() -> None:
    op.drop_table("evaluation_answers")
