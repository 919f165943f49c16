"""Datasets and compositions have metadata; lists are found by name, status and label.

No table is rebuilt, see 2026_11_24_image_deletion.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_names_and_metadata"
down_revision = "2026_11_28_splits_and_groups"
branch_labels = None
depends_on = None

DESCRIBED = ("dataset", "composition")
INDEXES = (
    ("ix_dataset_name", "dataset", ["name"]),
    ("ix_component_name", "component", ["name"]),
    ("ix_evaluation_status", "evaluation", ["status"]),
    ("ix_batch_prediction_status", "batch_prediction", ["status"]),
    ("ix_image_dataset_id_label_id", "image", ["dataset_id", "label", "id"]),
)


def upgrade() -> None:
    for table in DESCRIBED:
        column: sa.Column[dict[str, str]] = sa.Column(
            "metadata", sa.JSON(), nullable=False, server_default="{}"
        )
        op.add_column(table, column)
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
    for table in reversed(DESCRIBED):
        op.drop_column(table, "metadata")
