"""Statements that several kinds of rows share, the same for SQLite and PostgreSQL."""

from __future__ import annotations

import secrets
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, Text, any_, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tastemaker.store import schema
from tastemaker.store.records import now

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Table

SALT_BYTES = 16
SIZES = tuple(2**power for power in range(9, -1, -1))
"""Rows in one INSERT; 512 events stay below each database's limit of parameters."""


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def put(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, keep: Collection[str] = ()) -> None:
    """Insert rows; one with the same primary key is replaced, but for the columns to `keep`."""
    if rows:
        statement = insert(connection, table)
        others = {
            column.name: statement.excluded[column.name]
            for column in table.c
            if not column.primary_key and column.name not in keep
        }
        connection.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others), rows)


def put_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; where one with the same primary key is there already it stays."""
    if rows:
        connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)


def count_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> int:
    """Do as `put_new`, a row at a time, and return how many were new."""
    statement = insert(connection, table).on_conflict_do_nothing()
    counting = {"preserve_rowcount": True}
    return sum(connection.execute(statement, row, execution_options=counting).rowcount for row in rows)


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows given as tuples in the order of the table's columns.

    Many rows go in one statement: between two statements other threads of this process may take Python's lock, and
    with `executemany` that happens between any two rows. The statements come in few sizes, so that each is parsed once.
    """
    done = 0
    for size in SIZES:
        while len(rows) - done >= size:
            values = [value for row in rows[done : done + size] for value in row]
            connection.exec_driver_sql(_insert_of(connection.dialect.name, table, size), tuple(values))
            done += size


@cache
def _insert_of(dialect: str, table: Table, size: int) -> str:
    mark = "?" if dialect == "sqlite" else "%s"
    row = f"({', '.join([mark] * len(table.c))})"
    return f"INSERT INTO {table.name} ({', '.join(table.c.keys())}) VALUES {', '.join([row] * size)}"


def among(connection: Connection, column: Column[Any], values: Collection[str]) -> tuple[ColumnElement[bool], Any]:
    """Return a condition that the column holds one of the values, and what to bind to its parameter `values`.

    The statement is the same for any number of values, so the database parses it once.
    """
    if connection.dialect.name == "sqlite":
        import json

        listed = func.json_each(bindparam("values", type_=Text)).table_valued("value")
        return column.in_(select(listed.c.value)), json.dumps(list(values), ensure_ascii=False)
    return column == any_(bindparam("values", type_=ARRAY(Text))), list(values)


def salt(connection: Connection, tenant: str) -> bytes:
    """Return the tenant's salt for hashes; the tenant is made where it is new. For writing transactions."""
    found = connection.scalar(select(schema.tenants.c.salt).where(schema.tenants.c.tenant == tenant))
    if found is None:
        found = secrets.token_hex(SALT_BYTES)
        connection.execute(schema.tenants.insert(), {"tenant": tenant, "salt": found, "created_at": now()})
    return bytes.fromhex(found)


def numbers(connection: Connection, tenant: str, name: str, count: int) -> range:
    """Return the next numbers of a counter, from 1 on; they are never given again."""
    counters = schema.counters
    last = connection.scalar(
        update(counters)
        .where(counters.c.tenant == tenant, counters.c.name == name)
        .values(value=counters.c.value + count)
        .returning(counters.c.value)
    )
    if last is None:
        salt(connection, tenant)
        connection.execute(counters.insert(), {"tenant": tenant, "name": name, "value": count})
        last = count
    return range(last - count + 1, last + 1)


def changed(connection: Connection, tenant: str, name: str) -> None:
    """Count a change of a kind of rows, so that other processes see it in `Store.revisions`."""
    numbers(connection, tenant, name, 1)


def current(connection: Connection, tenant: str, name: str) -> int:
    """Return the last number that a counter gave, 0 before the first."""
    counters = schema.counters
    found = connection.scalar(select(counters.c.value).where(counters.c.tenant == tenant, counters.c.name == name))
    return found or 0
