"""Incidents of a model and audit lines of an actor are listed, and kept answers go by their age, without reading all."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("incidents_model", "incidents", ["model", "id"])
    op.create_index("audit_actor", "audit", ["actor", "seq"])
    op.create_index("idempotency_at", "idempotency", ["at"])


def downgrade() -> None:
    op.drop_index("idempotency_at", "idempotency")
    op.drop_index("audit_actor", "audit")
    op.drop_index("incidents_model", "incidents")
