"""The store: a shop's events, catalogue, shoppers, keys, models, rules and traces, in SQLite or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.errors import MissingExtra

if TYPE_CHECKING:
    from tastemaker.store.database import Database
    from tastemaker.store.store import Store

VARIABLE = "TASTEMAKER_STORE"
"""Environment variable with the URL of the store that commands use."""


def open_store(url: str | Path, *, create: bool = True, upgrade: bool = True, read_only: bool = False) -> Store:
    """Open a store; close it at the end, or use it in a `with` block.

    Args:
        url: "postgresql://user@host/name", "sqlite:///shop.db" (three slashes and a path), or just a path.
        create: make the file or the tables where there are none.
        upgrade: bring an older schema to the newest; otherwise an older one is refused.
        read_only: never write; an SQLite store can then be open beside the one process that writes to it.

    Raises:
        StoreBusy: another process writes to this SQLite file.
        StoreReadOnly: it cannot be written, and `read_only` was not asked for.
        StoreError: it is missing, cannot be reached, is not ours, or its schema is not the newest.
        MissingExtra: SQLAlchemy or psycopg is not installed.
    """
    try:
        from tastemaker.store import migrating, schema
        from tastemaker.store.store import Store
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tastemaker"):
            raise
        raise MissingExtra("a store", error.name or "sqlalchemy", "serve") from error
    from tastemaker.store.errors import StoreError

    database = _database(url, create=create, read_only=read_only)
    try:
        here = migrating.revision(database)
        if here is None and not read_only and create:
            migrating.migrate(database)
        elif here is None:
            raise StoreError(f"{database.place}: there is no store; check the address, or add one event to make it")
        elif here != schema.REVISION:
            if read_only or not upgrade:
                raise StoreError(
                    f"{database.place}: has schema {here}, this release has {schema.REVISION}: tastemaker db upgrade"
                )
            migrating.migrate(database)
        return Store(database)
    except BaseException:
        database.close()
        raise


def _database(url: str | Path, *, create: bool, read_only: bool) -> Database:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from tastemaker.store.errors import StoreError
    from tastemaker.store.sqlite import SqliteDatabase

    if isinstance(url, Path) or "://" not in url:
        return SqliteDatabase(Path(url), create=create, read_only=read_only)
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("the address of the store cannot be read; write postgresql://user@host/name") from error
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError(f"{url}: a store needs a file: sqlite:///shop.db")
        return SqliteDatabase(Path(parsed.database), create=create, read_only=read_only)
    if parsed.get_backend_name() == "postgresql":
        from tastemaker.store.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(parsed, read_only=read_only)
    raise StoreError(f"{parsed.drivername}: a store is kept in SQLite (sqlite:///shop.db) or PostgreSQL")
