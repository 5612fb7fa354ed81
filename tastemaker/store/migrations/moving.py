"""Rows that move between tables for a new schema: in parts, each in a transaction of its own.

So no lock is held long, and neither memory nor the WAL grows with the table. A start that is cut off goes on where the
one before it stopped, as what was moved is gone from where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, literal, select

from tastemaker.store import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tastemaker.store.databases.database import Database

PART = 500
"""Sequence numbers whose rows are moved in one transaction."""
KEPT = 20_000
"""Newest numbers of each tenant whose lines are kept, as by default when they are written."""


def move_rule_lines(database: Database) -> None:
    """Move lines on what rules did from the audit log to the log of rules, which keeps the newest."""
    audit = schema.audit.c
    with database.read() as connection:
        ends = connection.execute(
            select(audit.tenant, func.min(audit.sequence), func.max(audit.sequence)).group_by(audit.tenant)
        ).all()
    for tenant, first, last in ends:
        for start in range(first, last + 1, PART):
            with database.write() as connection:
                moved = _move(connection, tenant, range(start, start + PART), keep=last - KEPT)
            database.tidy(moved)


def _move(connection: Connection, tenant: str, part: range, *, keep: int) -> int:
    """Move the lines with some numbers, and drop those up to `keep`; return how many rows were touched."""
    audit, arrangements = schema.audit.c, schema.arrangements
    mine = (
        (audit.tenant == tenant)
        & (audit.sequence >= part.start)
        & (audit.sequence < part.stop)
        & (audit.actor == literal("rules"))
        & (audit.action == literal("arrange"))
    )
    lines = select(audit.tenant, audit.sequence, audit.timestamp, audit.subject, audit.detail).where(mine)
    names = ["tenant", "sequence", "timestamp", "request_id", "detail"]
    connection.execute(insert(arrangements).from_select(names, lines.where(audit.sequence > keep)))
    return connection.execute(schema.audit.delete().where(mine)).rowcount
