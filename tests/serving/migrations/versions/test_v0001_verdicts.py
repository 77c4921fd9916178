import importlib

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

TABLES = {"api_keys", "verdicts", "suggestions", "settings", "probes"}


def run(connection, step):
    """Run one direction of the migration as Alembic does."""
    module = importlib.import_module("gooseguard.serving.migrations.versions.v0001_verdicts")
    with Operations.context(MigrationContext.configure(connection)):
        getattr(module, step)()


def test_up_and_down(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    with engine.begin() as connection:
        run(connection, "upgrade")
        assert set(sa.inspect(connection).get_table_names()) == TABLES
        assert {index["name"] for index in sa.inspect(connection).get_indexes("verdicts")} == {
            "verdicts_created", "verdicts_request", "verdicts_item", "verdicts_author",
        }  # fmt: skip
        salt = connection.execute(sa.text("SELECT value FROM settings WHERE name = 'author-salt'")).scalar()
        assert len(bytes.fromhex(salt)) == 32
    with engine.begin() as connection:
        run(connection, "downgrade")
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()
