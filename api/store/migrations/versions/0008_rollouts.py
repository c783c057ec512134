"""Rollouts: where each stands, and what people have ordered about it."""

import sqlalchemy as sa
from alembic import op

from api.store.records import Json, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("proposal_id", sa.String(200), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("incident_id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("from_version", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stages", Json, nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("stage_since", UtcDateTime(), nullable=False),
        sa.Column("look", Json, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ordered", sa.String(16), nullable=True),
        sa.Column("ordered_by", sa.String(200), nullable=True),
        sa.Column("order_reason", sa.Text(), nullable=True),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
    )
    op.create_index("rollouts_proposal", "rollouts", ["proposal_id"], unique=True)
    op.create_index("rollouts_model", "rollouts", ["model", "id"])


def downgrade() -> None:
    op.drop_table("rollouts")
