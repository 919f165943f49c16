"""The first tables: spaces to receipts, and the workers' signs of life."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_22_first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("rejected", sa.JSON(), nullable=False),
        sa.Column("num_rejected", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("pack_key", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", "route", name="pk_idempotency_key"),
    )
    op.create_table(
        "receipt",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("previous_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_receipt"),
        sa.UniqueConstraint("id", name="uq_receipt_id"),
    )
    op.create_table(
        "space",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("backbone", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("declared_labels", sa.JSON(), nullable=False),
        sa.Column("default_rule", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("image_size", sa.Integer(), nullable=False),
        sa.Column("parameters_total", sa.BigInteger(), nullable=False),
        sa.Column("parameters_tangent", sa.BigInteger(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("engine_reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_space"),
    )
    op.create_index("ix_space_fingerprint", "space", ["fingerprint"])

    op.create_table(
        "tombstone",
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("receipt_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name="pk_tombstone"),
    )
    op.create_table(
        "worker",
        sa.Column("executor_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("executor_id", name="pk_worker"),
    )
    op.create_index("ix_worker_beat_at", "worker", ["beat_at"])

    op.create_table(
        "component",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("space", sa.String(length=64), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("hyperparameters", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("blob_key", sa.String(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_component_dataset_id_dataset"
        ),
        sa.ForeignKeyConstraint(["space"], ["space.name"], name="fk_component_space_space"),
        sa.PrimaryKeyConstraint("id", name="pk_component"),
    )
    op.create_index("ix_component_dataset_id", "component", ["dataset_id"])
    op.create_index("ix_component_space", "component", ["space"])
    op.create_index("ix_component_status", "component", ["status"])

    op.create_table(
        "composition",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("space", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("everything", sa.Boolean(), nullable=False),
        sa.Column("solved", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["space"], ["space.name"], name="fk_composition_space_space"),
        sa.PrimaryKeyConstraint("name", name="pk_composition"),
    )
    op.create_index("ix_composition_space", "composition", ["space"])

    op.create_table(
        "evaluation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("space", sa.String(length=64), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("selection", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("invalidated_by", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name="fk_evaluation_dataset_id_dataset",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["space"], ["space.name"], name="fk_evaluation_space_space"),
        sa.PrimaryKeyConstraint("id", name="pk_evaluation"),
    )
    op.create_index("ix_evaluation_dataset_id", "evaluation", ["dataset_id"])
    op.create_index("ix_evaluation_space", "evaluation", ["space"])

    op.create_table(
        "image",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("pack_offset", sa.BigInteger(), nullable=False),
        sa.Column("pack_length", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["dataset.id"], name="fk_image_dataset_id_dataset", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_image"),
    )
    op.create_index("ix_image_dataset_id_id", "image", ["dataset_id", "id"], unique=True)

    op.create_table(
        "component_event",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("component_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["component.id"],
            name="fk_component_event_component_id_component",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_component_event"),
    )
    op.create_index("ix_component_event_component_id", "component_event", ["component_id"])

    op.create_table(
        "composition_member",
        sa.Column("composition", sa.String(length=64), nullable=False),
        sa.Column("component_id", sa.String(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["component_id"], ["component.id"], name="fk_composition_member_component_id_component"
        ),
        sa.ForeignKeyConstraint(
            ["composition"],
            ["composition.name"],
            name="fk_composition_member_composition_composition",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("composition", "component_id", name="pk_composition_member"),
    )
    op.create_index("ix_composition_member_component_id", "composition_member", ["component_id"])

    op.create_table(
        "evaluation_member",
        sa.Column("evaluation_id", sa.String(), nullable=False),
        sa.Column("component_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name="fk_evaluation_member_evaluation_id_evaluation",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "component_id", name="pk_evaluation_member"),
    )
    op.create_index("ix_evaluation_member_component_id", "evaluation_member", ["component_id"])


def downgrade() -> None:
    op.drop_table("evaluation_member")
    op.drop_table("composition_member")
    op.drop_table("component_event")
    op.drop_table("image")
    op.drop_table("evaluation")
    op.drop_table("composition")
    op.drop_table("component")
    op.drop_table("worker")
    op.drop_table("tombstone")
    op.drop_table("space")
    op.drop_table("receipt")
    op.drop_table("idempotency_key")
    op.drop_table("dataset")
