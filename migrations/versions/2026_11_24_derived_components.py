"""Components that were made from other components, and who their parents are."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_24_derived_components"
down_revision = "2026_11_22_first_tables"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("component", sa.Column("derived", sa.JSON(), nullable=True))
    op.create_table(
        "component_parent",
        sa.Column("component_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.String(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("direct", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["component.id"],
            name="fk_component_parent_component_id_component",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["component.id"], name="fk_component_parent_parent_id_component"
        ),
        sa.PrimaryKeyConstraint("component_id", "position", name="pk_component_parent"),
    )
    op.create_index("ix_component_parent_parent_id", "component_parent", ["parent_id"])
    op.create_index("ix_component_parent_sha256", "component_parent", ["sha256"])


def downgrade() -> None:
    op.drop_table("component_parent")
    op.drop_column("component", "derived")
