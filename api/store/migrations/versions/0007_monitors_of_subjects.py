"""A monitor is of a subject: a model, or a table of raw data."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("monitors") as table:
        table.alter_column("model", new_column_name="subject", existing_type=sa.String(200), type_=sa.String(220))
    op.execute("UPDATE monitors SET subject = 'model:' || subject")


def downgrade() -> None:
    op.execute("DELETE FROM monitors WHERE subject NOT LIKE 'model:%'")
    op.execute("UPDATE monitors SET subject = substr(subject, 7)")
    with op.batch_alter_table("monitors") as table:
        table.alter_column("subject", new_column_name="model", existing_type=sa.String(220), type_=sa.String(200))
