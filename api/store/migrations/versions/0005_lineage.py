"""Where things come from: the events that were told of it, and the graph that they make."""

import sqlalchemy as sa
from alembic import op

from api.store.records import Json, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lineage_events",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("event_type", sa.String(16), nullable=False),
        sa.Column("event_time", UtcDateTime(), nullable=False),
        sa.Column("told_by", sa.String(200), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("event", Json, nullable=False),
    )
    op.create_index("lineage_events_run", "lineage_events", ["run_id", "event_time"])
    op.create_table(
        "lineage_nodes",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("facets", Json, nullable=False),
    )
    op.create_table(
        "lineage_edges",
        sa.Column("source", sa.String(32), primary_key=True),
        sa.Column("target", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("facets", Json, nullable=False),
    )
    op.create_index("lineage_edges_target", "lineage_edges", ["target", "kind"])


def downgrade() -> None:
    for table in ("lineage_edges", "lineage_nodes", "lineage_events"):
        op.drop_table(table)
