"""Tables of the first server: keys, verdicts, suggestions, settings, probes."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Written out, not taken from tables.py: this is what version 0001 was, whatever the tables are today.
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _json() -> "sa.JSON":
    return sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Make the tables, and the key of the author digests."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("revoked", sa.Double),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("items_per_minute", sa.BigInteger),
        sa.Column("bytes_per_minute", sa.BigInteger),
    )
    _create_verdicts()
    _create_suggestions()
    settings = op.create_table(
        "settings",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "probes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("written", sa.Double, nullable=False),
    )
    op.bulk_insert(settings, [{"name": "author-salt", "value": secrets.token_hex(32)}])


def _create_verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("api", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("item", sa.Text),
        sa.Column("author", sa.Text),
        sa.Column("community", sa.Text),
        sa.Column("digest", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("policy", sa.Text),
        sa.Column("action", sa.Text),
        sa.Column("flagged", _json()),
        sa.Column("scores", _json()),
        sa.Column("error", sa.Text),
        sa.Column("content", sa.Text),
    )
    for column in ("created", "request", "item", "author"):
        op.create_index(f"verdicts_{column}", "verdicts", [column])


def _create_suggestions() -> None:
    op.create_table(
        "suggestions",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("item", sa.Text),
        sa.Column("author", sa.Text),
        sa.Column("community", sa.Text),
        sa.Column("language", sa.Text),
        sa.Column("scores", _json(), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
    for column in ("created", "request", "item", "author"):
        op.create_index(f"suggestions_{column}", "suggestions", [column])


def downgrade() -> None:
    """Remove the tables."""
    for table in ("probes", "settings", "suggestions", "verdicts", "api_keys"):
        op.drop_table(table)
