"""The scrub and its progress, marks of damaged images, and what an evaluation was without."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_scrub"
down_revision = "2026_11_28_more_quotas"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "scrub",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("began_at", TIME, nullable=False),
        sa.Column("position", sa.String(), nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_scrub")),
    )
    damaged: sa.Column[bool] = sa.Column(
        "damaged", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("image", damaged)
    number: sa.Column[int] = sa.Column(
        "damaged_images", sa.Integer(), nullable=False, server_default="0"
    )
    op.add_column("dataset", number)
    used: sa.Column[bool] = sa.Column(
        "used", sa.Boolean(), nullable=False, server_default=sa.true()
    )
    op.add_column("evaluation_member", used)


def downgrade() -> None:
    op.drop_column("evaluation_member", "used")
    op.drop_column("dataset", "damaged_images")
    op.drop_column("image", "damaged")
    op.drop_table("scrub")
