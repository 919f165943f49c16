"""Evaluations and batch predictions by fitted weights tell the dataset that these were fitted to.

Its deletion ends them. Of those made before nobody knows.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_fitted_to"
down_revision = "2026_11_29_evaluation_answers"
branch_labels = None
depends_on = None

TABLES = ("evaluation", "batch_prediction")


def upgrade() -> None:
    for name in TABLES:
        op.add_column(name, sa.Column("fitted_to", sa.String(), nullable=True))
        op.create_index(op.f(f"ix_{name}_fitted_to"), name, ["fitted_to"])


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_index(op.f(f"ix_{name}_fitted_to"), table_name=name)
        op.drop_column(name, "fitted_to")
