"""The store: a shop's events, catalogue, shoppers, keys, models, rules and traces, in SQLite or PostgreSQL."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.errors import MissingExtra

if TYPE_CHECKING:
    from sqlalchemy import URL

    from tastemaker.store.databases.database import Database
    from tastemaker.store.store import Store

VARIABLE = "TASTEMAKER_STORE"
"""Environment variable with the URL of the store that commands use."""


def open_store(
    url: str | Path,
    *,
    create: bool = True,
    upgrade: bool = True,
    read_only: bool = False,
    any_schema: bool = False,
) -> Store:
    """Open a store; close it at the end, or use it in a `with` block.

    Args:
        url: "postgresql://user@host/name", "sqlite:///shop.db" (three slashes and a path), or just a path.
        create: make the file or the tables where there are none.
        upgrade: bring an older schema to the newest; otherwise an older one is refused.
        any_schema: open a store of another schema as it is, to check or migrate it.
        read_only: never write; an SQLite store can then be open beside the one process that writes to it.

    Raises:
        StoreBusy: another process writes to this SQLite file.
        StoreReadOnly: it cannot be written, and `read_only` was not asked for.
        StoreMissing: there is none, and none is to be made.
        StoreError: it cannot be reached, is not ours, or its schema is not the newest.
        MissingExtra: SQLAlchemy or psycopg is not installed.
    """
    _require_sqlalchemy()
    from tastemaker.store import migrating, schema
    from tastemaker.store.errors import MAKE, StoreError, StoreMissing
    from tastemaker.store.store import Store

    database = _database(url, create=create, read_only=read_only)
    try:
        here = migrating.revision(database)
        if here is None and not read_only and create:
            migrating.migrate(database)
        elif here is None:
            raise StoreMissing(f"{database.place}: there is no store; {MAKE}")
        elif here != schema.REVISION and not any_schema:
            if read_only or not upgrade:
                raise StoreError(
                    f"{database.place}: has schema {here}, this release has {schema.REVISION}: tastemaker db upgrade"
                )
            migrating.migrate(database)
        return Store(database)
    except BaseException:
        database.close()
        raise


def restore_backup(backup: Path, url: str, *, replace: bool = False) -> Path | None:
    """Check a backup that `Store.backup` wrote, and put a copy of it in the place of a store.

    Args:
        backup: the file.
        url: of the store; nobody may have it open for writing. A PostgreSQL database has to be empty.
        replace: set aside the SQLite file that is there; otherwise it is refused.

    Returns:
        Where the former store is now, or None.

    Raises:
        StoreError: the backup is damaged or none, or the place is taken.
    """
    _require_sqlalchemy()
    from tastemaker.store.databases.restoring import restore_postgresql, restore_sqlite

    place = _place(url)
    if isinstance(place, Path):
        return restore_sqlite(backup, place, replace=replace)
    restore_postgresql(backup, place)
    return None


def _require_sqlalchemy() -> None:
    for module in ("sqlalchemy", "alembic"):
        if find_spec(module) is None:
            raise MissingExtra("a store", module, "serve")


def _database(url: str | Path, *, create: bool, read_only: bool) -> Database:
    place = _place(url)
    if isinstance(place, Path):
        from tastemaker.store.databases.sqlite import SqliteDatabase

        return SqliteDatabase(place, create=create, read_only=read_only)
    from tastemaker.store.databases.postgresql import PostgresqlDatabase

    return PostgresqlDatabase(place, read_only=read_only)


def _place(url: str | Path) -> Path | URL:
    """Return the SQLite file, or the parsed address of a PostgreSQL database, that an address names."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from tastemaker.store.errors import StoreError

    if isinstance(url, Path) or "://" not in url:
        return Path(url)
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("the address of the store cannot be read; write postgresql://user@host/name") from error
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError(f"{url}: a store needs a file: sqlite:///shop.db")
        return Path(parsed.database)
    if parsed.get_backend_name() == "postgresql":
        return parsed
    raise StoreError(f"{parsed.drivername}: a store is kept in SQLite (sqlite:///shop.db) or PostgreSQL")
