"""The tables of a store. Each has `tenant` first in its primary key and indexes, so no query reaches another's rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text

REVISION = "0005"
"""The newest migration; a test compares it with those that are packaged."""

metadata = MetaData()


def _table(name: str, *columns: Column[Any] | Index) -> Table:
    """Return a table that SQLite clusters by its primary key."""
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def _key(name: str, kind: type[Text | BigInteger] = Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _needed(name: str, kind: type[Text | BigInteger | Boolean] = Text) -> Column[Any]:
    return Column(name, kind, nullable=False)


tenants = _table(
    "tenants",
    _key("tenant"),
    _needed("salt"),
    _needed("created_at", BigInteger),
)
counters = _table(
    "counters",
    _key("tenant"),
    _key("name"),
    _needed("value", BigInteger),
)
events = _table(
    "events",
    _key("tenant"),
    _key("sequence", BigInteger),
    _needed("event_id"),
    _needed("user_id"),
    _needed("item_id"),
    _needed("event_type"),
    _needed("timestamp", BigInteger),
    Column("value", Double),
    Column("session_id", Text),
    Column("request_id", Text),
    Column("position", Integer),
    Index("events_by_id", "tenant", "event_id", unique=True),
    Index("events_by_user", "tenant", "user_id", "timestamp", "sequence"),
)
items = _table(
    "items",
    _key("tenant"),
    _key("item_id"),
    _needed("revision", BigInteger),
    _needed("deleted", Boolean),
    _needed("document"),
    Index("items_by_revision", "tenant", "revision", unique=True),
)
users = _table(
    "users",
    _key("tenant"),
    _key("user_id"),
    _needed("document"),
    _needed("updated_at", BigInteger),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Index("users_by_revision", "tenant", "revision"),
)
tombstones = _table(
    "tombstones",
    _key("tenant"),
    _key("user_hash"),
    _needed("erased_at", BigInteger),
)
keys = _table(
    "keys",
    _key("tenant"),
    _key("key_id"),
    _needed("name"),
    _needed("scopes"),
    _needed("hash"),
    _needed("created_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index("keys_by_id", "key_id", unique=True),
)
models = _table(
    "models",
    _key("tenant"),
    _key("version"),
    _needed("folder"),
    _needed("state"),
    Column("activation", BigInteger),
    _needed("created_at", BigInteger),
    _needed("facts"),
    Column("digest", Text),
)
jobs = _table(
    "jobs",
    _key("tenant"),
    _key("job_id"),
    _needed("document"),
    _needed("created_at", BigInteger),
    _needed("updated_at", BigInteger),
)
impressions = _table(
    "impressions",
    _key("tenant"),
    _key("request_id"),
    _needed("timestamp", BigInteger),
    Column("user_id", Text),
    _needed("document"),
    Index("impressions_by_time", "tenant", "timestamp"),
    Index("impressions_by_user", "tenant", "user_id"),
)
audit = _table(
    "audit",
    _key("tenant"),
    _key("sequence", BigInteger),
    _needed("timestamp", BigInteger),
    _needed("actor"),
    _needed("action"),
    _needed("subject"),
    _needed("detail"),
    Index("audit_by_subject", "tenant", "subject"),
)
arrangements = _table(
    "arrangements",
    _key("tenant"),
    _key("sequence", BigInteger),
    _needed("timestamp", BigInteger),
    _needed("request_id"),
    _needed("detail"),
    Index("arrangements_by_request", "tenant", "request_id"),
)
rankings = _table(
    "rankings",
    _key("tenant"),
    _key("user_id"),
    _needed("sequence", BigInteger),
    _needed("model_version"),
    _needed("digest"),
    _needed("document"),
    _needed("computed_at", BigInteger),
    Index("rankings_by_sequence", "tenant", "sequence", unique=True),
)
rules = _table(
    "rules",
    _key("tenant"),
    _key("version", BigInteger),
    _needed("document"),
    _needed("actor"),
    _needed("created_at", BigInteger),
)
experiments = _table(
    "experiments",
    _key("tenant"),
    _key("name"),
    _needed("document"),
    _needed("updated_at", BigInteger),
)
