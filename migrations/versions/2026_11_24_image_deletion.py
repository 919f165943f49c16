"""Datasets whose images and labels change, and components that are trained anew for it.

No table is rebuilt: on SQLite that would drop `dataset`, and with it every image that refers to it.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_24_image_deletion"
down_revision = "2026_11_24_derived_components"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _replace_sha256(sa.Column("archive_sha256", sa.String(), nullable=True))
    counter = {"nullable": False, "server_default": "0"}
    op.add_column("dataset", sa.Column("revision", sa.Integer(), **counter))
    op.add_column("image", sa.Column("copies", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("component", sa.Column("generation", sa.Integer(), **counter))
    op.add_column(
        "component",
        sa.Column("retraining", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    op.drop_column("component", "retraining")
    op.drop_column("component", "generation")
    op.drop_column("image", "copies")
    op.drop_column("dataset", "revision")
    op.execute("UPDATE dataset SET sha256 = '' WHERE sha256 IS NULL")
    _replace_sha256(sa.Column("archive_sha256", sa.String(), nullable=False, server_default=""))


def _replace_sha256(column: sa.Column) -> None:
    op.add_column("dataset", column)
    op.execute("UPDATE dataset SET archive_sha256 = sha256")
    op.drop_column("dataset", "sha256")
    op.execute("ALTER TABLE dataset RENAME COLUMN archive_sha256 TO sha256")
