"""Incidents are found by their subject also when they are closed: what was handed to people holds its duplicates."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("incidents_subject", "incidents", ["subject", "closed_at"])


def downgrade() -> None:
    op.drop_index("incidents_subject", "incidents")
