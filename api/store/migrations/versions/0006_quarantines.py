"""Data that is neither learnt from nor compared with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from api.store.records import UtcDateTime

JSON = sa.JSON().with_variant(JSONB(), "postgresql")

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quarantines",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(300), nullable=False, unique=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("features", JSON, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(1000), nullable=False),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("release_key", sa.String(300), nullable=True),
        sa.Column("released_by", sa.String(1000), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.Column("released_at", UtcDateTime(), nullable=True),
    )
    op.create_index("quarantines_model", "quarantines", ["model", "released_at"])


def downgrade() -> None:
    op.drop_table("quarantines")
