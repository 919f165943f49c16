"""Refinements that the service has made: what they serve, and when another one replaced them.

No table is rebuilt, see 2026_11_24_image_deletion. A refinement that was replaced while it trained
had no end; it ended when it was replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_refinements"
down_revision = "2026_11_28_database_identity"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
COMPONENT = sa.table(
    "component",
    sa.column("id", sa.String()),
    sa.column("derived", sa.JSON(none_as_null=True)),
    sa.column("automatic", sa.Boolean()),
    sa.column("refines", sa.String()),
    sa.column("replaced_at", TIME),
    sa.column("created_at", TIME),
    sa.column("finished_at", TIME),
)
EVENT = sa.table(
    "component_event", sa.column("component_id", sa.String()), sa.column("created_at", TIME)
)


def upgrade() -> None:
    automatic: sa.Column[bool] = sa.Column(
        "automatic", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("component", automatic)
    op.add_column("component", sa.Column("refines", sa.String(), nullable=True))
    op.add_column("component", sa.Column("replaced_at", TIME, nullable=True))
    columns, connection = COMPONENT.c, op.get_bind()
    rows = connection.execute(
        sa.select(columns.id, columns.derived, columns.created_at, columns.finished_at).where(
            columns.derived["automatic"].as_boolean()
        )
    )
    for row in rows.all():
        kept = {name: row.derived[name] for name in ("operator", "parameters")}
        values = {"derived": kept, "automatic": True, "refines": row.derived.get("composition")}
        if row.derived.get("replaced"):
            newest = sa.select(sa.func.max(EVENT.c.created_at, type_=TIME))
            last = connection.scalar(newest.where(EVENT.c.component_id == row.id))
            values["replaced_at"] = last or row.finished_at or row.created_at
            values["finished_at"] = row.finished_at or values["replaced_at"]
        connection.execute(sa.update(COMPONENT).where(columns.id == row.id).values(values))


def downgrade() -> None:
    columns, connection = COMPONENT.c, op.get_bind()
    rows = connection.execute(
        sa.select(columns.id, columns.derived, columns.refines, columns.replaced_at).where(
            columns.automatic
        )
    )
    for row in rows.all():
        derived = row.derived | {"automatic": True, "composition": row.refines}
        if row.replaced_at is not None:
            derived["replaced"] = True
        connection.execute(sa.update(COMPONENT).where(columns.id == row.id).values(derived=derived))
    for name in ("replaced_at", "refines", "automatic"):
        op.drop_column("component", name)
