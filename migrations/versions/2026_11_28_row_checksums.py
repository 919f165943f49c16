"""Every row that the service shows or proves by has a checksum.

Triggers fill it, which `env.py` makes after the last revision: see app.database.row_checksums.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_row_checksums"
down_revision = "2026_11_28_scrub"
branch_labels = None
depends_on = None

TABLES = (
    *("space", "dataset", "image", "component", "component_parent", "component_event"),
    *("composition", "composition_member", "evaluation", "evaluation_member"),
    *("receipt", "receipt_key", "receipt_node", "tombstone", "idempotency_key"),
    *("api_key", "audit_log"),
)


def upgrade() -> None:
    for name in TABLES:
        op.add_column(name, sa.Column("checksum", sa.String(), nullable=True))
    number: sa.Column[int] = sa.Column(
        "damaged_rows", sa.Integer(), nullable=False, server_default="0"
    )
    op.add_column("scrub", number)


def downgrade() -> None:
    op.drop_column("scrub", "damaged_rows")
    for name in reversed(TABLES):
        op.drop_column(name, "checksum")
