"""The Merkle tree over receipts, made from the hashes of the receipts that there are."""

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_receipt_nodes"
down_revision = "2026_11_28_remade_spaces"
branch_labels = None
depends_on = None

RECEIPT = sa.table("receipt", sa.column("number", sa.Integer()), sa.column("hash", sa.String()))


def upgrade() -> None:
    node = op.create_table(
        "receipt_node",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("level", "index", name=op.f("pk_receipt_node")),
    )
    connection = op.get_bind()
    whole: list[tuple[int, bytes]] = []  # the complete subtrees so far: level and hash
    query = sa.select(RECEIPT.c.hash).order_by(RECEIPT.c.number)
    for index, hash_ in enumerate(connection.scalars(query).all()):
        level, digest = 0, sha256(b"\x00" + hash_.encode()).digest()
        rows = [{"level": 0, "index": index, "hash": digest.hex()}]
        while whole and whole[-1][0] == level:
            digest, level = sha256(b"\x01" + whole.pop()[1] + digest).digest(), level + 1
            rows.append({"level": level, "index": index >> level, "hash": digest.hex()})
        whole.append((level, digest))
        connection.execute(node.insert(), rows)


def downgrade() -> None:
    op.drop_table("receipt_node")
