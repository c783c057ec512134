"""What Alembic runs around the revisions. `api/store/schema.py` hands in the connection; its transaction holds all of them."""

from alembic import context

from api.store.migrations import target

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=target.METADATA,
    # ALTER on SQLite means: copy the table.
    render_as_batch=True,
    compare_type=True,
    compare_server_default=True,
)
context.run_migrations()
