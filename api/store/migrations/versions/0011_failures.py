"""How an action was given up, for whoever repeats it after a crash."""

import sqlalchemy as sa
from alembic import op

from api.store.records import Json

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("actions", sa.Column("failure", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("actions", "failure")
