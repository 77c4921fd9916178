"""The tables of a server's database: API keys, verdicts, suggested scores. Knows nothing of HTTP.

One schema for SQLite and PostgreSQL. Times are seconds since 1970 in UTC, so that both databases compare and
index them alike. Text that callers chose is stored as ASCII JSON: PostgreSQL takes no NUL in a text, and
neither database takes a lone surrogate. `migrations/` brings a database to this state; a test compares them.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

# SQLite numbers rows by itself only where the type is called INTEGER.
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True, doc="public half of the key"),
    Column("name", Text, nullable=False, doc="what its owner calls it"),
    Column("digest", Text, nullable=False, doc="SHA-256 of the whole key, hex"),
    Column("created", Double, nullable=False),
    Column("revoked", Double, doc="since when it no longer opens anything"),
    Column("requests_per_minute", BigInteger),
    Column("items_per_minute", BigInteger),
    Column("bytes_per_minute", BigInteger),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("created", Double, nullable=False),
    Column("request", Text, nullable=False, doc="id of the HTTP request, as in x-request-id"),
    Column("position", Integer, nullable=False, doc="of the content in the request, from 0"),
    Column("api", Text, nullable=False, doc="openai, perspective, score or stream"),
    Column("key", Text, doc="id of the API key"),
    Column("item", Text, doc="the caller's own id of the content"),
    Column("author", Text, doc="keyed digest of the caller's id of the author"),
    Column("community", Text),
    Column("digest", Text, doc="SHA-256 of the content; null where the caller forbade to store"),
    Column("model", Text, doc="name@digest"),
    Column("policy", Text, doc="id@version"),
    Column("action", Text, doc="allow, review or block; null without a policy"),
    Column("flagged", JSON(none_as_null=True), doc="list of categories"),
    Column("scores", JSON(none_as_null=True), doc="category to score; null if scoring failed"),
    Column("error", Text, doc="name of the exception's class, if scoring failed"),
    Column("content", Text, doc="the parts as JSON, only where the operator asks for it"),
    Index("verdicts_created", "created"),
    Index("verdicts_request", "request"),
    Index("verdicts_item", "item"),
    Index("verdicts_author", "author"),
)

suggestions = Table(
    "suggestions",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("created", Double, nullable=False),
    Column("request", Text, nullable=False),
    Column("key", Text),
    Column("item", Text),
    Column("author", Text),
    Column("community", Text, doc="whose norms the scores follow"),
    Column("language", Text),
    Column("scores", JSON(none_as_null=True), nullable=False, doc="category to suggested score"),
    Column("digest", Text, nullable=False),
    Column("content", Text, nullable=False, doc="the parts as JSON: training needs the text"),
    Index("suggestions_created", "created"),
    Index("suggestions_request", "request"),
    Index("suggestions_item", "item"),
    Index("suggestions_author", "author"),
)

settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True, doc="author-salt: key of the author digests, hex"),
    Column("value", Text, nullable=False),
)

probes = Table(
    "probes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("written", Double, nullable=False, doc="when a server last tried whether it can write"),
)
