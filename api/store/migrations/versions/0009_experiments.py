"""Experiments: where each stands, what people have ordered about it, and each look at it."""

import sqlalchemy as sa
from alembic import op

from api.store.records import Json, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("proposal_id", sa.String(200), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("incident_id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("control", sa.String(200), nullable=False),
        sa.Column("plan", Json, nullable=False),
        sa.Column("rules", Json, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("ending", sa.String(16), nullable=False),
        sa.Column("look", Json, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ordered", sa.String(16), nullable=True),
        sa.Column("ordered_by", sa.String(200), nullable=True),
        sa.Column("order_reason", sa.Text(), nullable=True),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
    )
    op.create_index("experiments_proposal", "experiments", ["proposal_id"], unique=True)
    op.create_index("experiments_model", "experiments", ["model", "id"])
    op.create_table(
        "experiment_looks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("proposal_id", sa.String(200), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("look", Json, nullable=False),
    )
    op.create_index("experiment_looks_once", "experiment_looks", ["proposal_id", "at"], unique=True)


def downgrade() -> None:
    op.drop_table("experiment_looks")
    op.drop_table("experiments")
