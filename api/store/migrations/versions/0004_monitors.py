"""Where each monitor of each model stands."""

import sqlalchemy as sa
from alembic import op

from api.store.records import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "monitors",
        sa.Column("model", sa.String(200), primary_key=True),
        sa.Column("monitor", sa.String(32), primary_key=True),
        sa.Column("tick", UtcDateTime(), nullable=False),
        sa.Column("bad", sa.Boolean(), nullable=True),
        sa.Column("streak", sa.Integer(), nullable=False),
        sa.Column("raised_at", UtcDateTime(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("monitors")
