"""Passes: evaluations become jobs, and batch predictions come; a quota for them.

Evaluations of before have ended: the columns of a job stay empty.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_passes"
down_revision = "2026_11_28_selection_version"
branch_labels = None
depends_on = None

COUNTS = ("done", "total", "attempt", "lost")


def upgrade() -> None:
    for column in _of_a_job(server_default="0"):
        op.add_column("evaluation", column)
    op.add_column("api_key", sa.Column("max_batch_predictions", sa.Integer(), nullable=True))
    _create_batch_predictions()
    op.create_table(
        "batch_prediction_member",
        sa.Column("batch_prediction_id", sa.String(), nullable=False),
        sa.Column("component_id", sa.String(), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["batch_prediction_id"],
            ["batch_prediction.id"],
            name=op.f("fk_batch_prediction_member_batch_prediction_id_batch_prediction"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "batch_prediction_id", "component_id", name=op.f("pk_batch_prediction_member")
        ),
    )
    for name, indexed in (
        ("batch_prediction", "space"),
        ("batch_prediction", "dataset_id"),
        ("batch_prediction_member", "component_id"),
    ):
        op.create_index(op.f(f"ix_{name}_{indexed}"), name, [indexed])


def downgrade() -> None:
    op.drop_table("batch_prediction_member")
    op.drop_table("batch_prediction")
    op.drop_column("api_key", "max_batch_predictions")
    # What has not ended, or ended without numbers, is nothing that the version before can show.
    op.execute("DELETE FROM evaluation WHERE status NOT IN ('ready', 'invalidated')")
    for column in reversed(_of_a_job()):
        op.drop_column("evaluation", column.name)


def _of_a_job(**of_counts: Any) -> list[sa.Column[Any]]:
    """Return the columns by which processes share the computing."""
    return [
        sa.Column("model", sa.JSON(none_as_null=True), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False, **of_counts) for name in COUNTS),
        sa.Column("holder", sa.String(), nullable=True),
        sa.Column("beats", sa.BigInteger(), nullable=False, **of_counts),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
    ]


def _create_batch_predictions() -> None:
    op.create_table(
        "batch_prediction",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("selection", sa.JSON(), nullable=False),
        *_of_a_job(),
        sa.Column("invalidated_by", sa.String(), nullable=True),
        sa.Column("created_by", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("space", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=True),
        sa.Column("archive", sa.JSON(none_as_null=True), nullable=True),
        *(sa.Column(name, sa.String(), nullable=True) for name in ("archive_key", "jsonl_key")),
        *(sa.Column(name, sa.String(), nullable=True) for name in ("jsonl_sha256", "csv_key")),
        sa.Column("csv_sha256", sa.String(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("num_errors", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["space"], ["space.name"], name=op.f("fk_batch_prediction_space_space")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_batch_prediction_dataset_id_dataset"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_prediction")),
    )
