"""How runs meet: what an action has claimed for itself, and which run has read an alert."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("actions", sa.Column("claim", sa.String(250), nullable=True))
    op.create_index("actions_claim", "actions", ["claim"], unique=True)
    op.add_column("alerts", sa.Column("read_by", sa.String(64), nullable=True))
    # Runs that have begun read what there was; what they did not is not told apart any more.
    op.execute(
        "UPDATE alerts SET read_by = (SELECT min(runs.id) FROM runs WHERE runs.incident_id = alerts.incident_id "
        "AND NOT (runs.status = 'queued' AND runs.event = 'start')) WHERE incident_id IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_column("alerts", "read_by")
    op.drop_index("actions_claim", "actions")
    op.drop_column("actions", "claim")
