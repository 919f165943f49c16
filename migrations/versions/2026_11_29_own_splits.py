"""Images keep what was told of their own files' split, beside the split that counts.

Of equal bytes under several labels nobody has kept which one was told what: each has the strictest.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_own_splits"
down_revision = "2026_11_29_browser_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image", sa.Column("own_split", sa.String(), nullable=True))
    op.execute("UPDATE image SET own_split = split")


def downgrade() -> None:
    op.drop_column("image", "own_split")
