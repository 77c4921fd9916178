"""What Alembic runs for every migration: inside the transaction that `serving/database.py` opened."""

from alembic import context

from gooseguard.serving.tables import metadata

# Only ever called with an open connection: there is no configuration file and no offline mode.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by writing it anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
