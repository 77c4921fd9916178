"""Alembic's scripts: each brings the database of a server from one schema to the next."""
