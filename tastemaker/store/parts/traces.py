"""Traces of what the service did: which lists it showed, and who changed what. Written soon, not at once."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from tastemaker.store import schema, sql
from tastemaker.store.fields import as_document, check_id, check_number, check_optional_id, check_text, check_time
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.parts.tombstones import erased_among
from tastemaker.store.records import Arrangement, AuditLine, Impression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

ANONYMOUS = "(erased)"
"""Stands for a shopper that was erased in lines of the audit log."""
LINES = 200
"""Lines of what rules did in one row; more of them make more rows."""
TRIMMED = 256
"""Rows after which those beyond the newest that are kept are removed."""
LOOKED_THROUGH = 256
"""Rows that are read at a time at least, to find those with lines on a product."""
Batch = tuple[str, list[dict[str, Any]]]


class Traces(Part):
    """Impressions, the audit log, and that of rules; a crash can lose the last fifth of a second of them."""

    def submit_impressions(self, tenant: str, impressions: Sequence[Impression]) -> bool:
        """Note what lists showed; return False where the store is too busy and they are lost.

        Raises:
            DataError: a field cannot be stored; none is.
        """
        check_tenant(tenant)
        rows = [impression_row(tenant, one, f"impressions[{place}]") for place, one in enumerate(impressions)]
        return self._writing().buffer(_append_impressions, (tenant, rows), weight=len(rows))

    def impressions_between(self, tenant: str, start: int, end: int) -> list[Impression]:
        """Return what was shown from `start` on and before `end` (milliseconds), in order of time."""
        table = schema.impressions.c
        lists = (
            select(table.request_id, table.timestamp, table.user_id, table.document)
            .where(table.tenant == tenant, table.timestamp >= start, table.timestamp < end)
            .order_by(table.timestamp, table.request_id)
        )
        with self._read() as connection:
            return [shown(row) for row in connection.execute(lists)]

    def impressions_after(self, tenant: str, place: tuple[int, str], end: int, limit: int = 1000) -> list[Impression]:
        """Return a page of what was shown before `end`, in order of time, then of request id.

        Args:
            tenant: whose rows.
            place: (timestamp, request id) of the last one of the page before; (start, "") for the first page.
            end: milliseconds.
            limit: length of a page.
        """
        table = schema.impressions.c
        start, request_id = place
        later = (table.timestamp > start) | ((table.timestamp == start) & (table.request_id > request_id))
        lists = (
            select(table.request_id, table.timestamp, table.user_id, table.document)
            .where(table.tenant == tenant, table.timestamp >= start, table.timestamp < end, later)
            .order_by(table.timestamp, table.request_id)
            .limit(limit)
        )
        with self._read() as connection:
            return [shown(row) for row in connection.execute(lists)]

    def add_arrangements(self, tenant: str, arrangements: Sequence[Arrangement], *, keep: int) -> bool:
        """Note what rules did to lists; return False where the store is too busy and it is lost.

        Args:
            tenant: whose rows.
            arrangements: a list of more than 200 lines makes several rows.
            keep: so many of the newest rows stay, and at most 256 more; older ones are removed.

        Raises:
            DataError: a field cannot be stored; none is.
        """
        check_tenant(tenant)
        rows = [
            {
                "tenant": tenant,
                "timestamp": check_time(one.timestamp, f"arrangements[{place}].timestamp"),
                "request_id": check_id(one.request_id, f"arrangements[{place}].request_id"),
                "detail": as_document({"lines": [*one.lines[first : first + LINES]]}, f"arrangements[{place}].lines"),
            }
            for place, one in enumerate(arrangements)
            for first in range(0, len(one.lines), LINES)
        ]
        return self._writing().buffer(_append_arrangements, (tenant, rows, keep), weight=len(rows))

    def arrangements(
        self, tenant: str, limit: int = 100, *, request_id: str | None = None, item_id: str | None = None
    ) -> list[Arrangement]:
        """Return what rules did to the newest lists, the newest first.

        Args:
            tenant: whose rows.
            limit: lists; one of more than 200 lines counts once for each 200.
            request_id: of this list alone.
            item_id: lines on this product alone; all that is kept is looked at for it.
        """
        table = schema.arrangements.c
        found = select(table.sequence, table.request_id, table.timestamp, table.detail).where(table.tenant == tenant)
        if request_id is not None:
            found = found.where(table.request_id == request_id)
        if item_id is not None:
            found = found.where(table.detail.contains(json.dumps(item_id, ensure_ascii=False), autoescape=True))
        size = limit if item_id is None else max(limit, LOOKED_THROUGH)
        newest = found.order_by(table.sequence.desc()).limit(size)
        page, lists = newest, list[Arrangement]()
        with self._read() as connection:
            while True:  # what names the product may say something else by it, such as a rule of the same name
                rows = connection.execute(page).all()
                for row in rows:
                    lines = [line for line in json.loads(row.detail)["lines"] if item_id in (None, line["item_id"])]
                    if lines:
                        lists.append(Arrangement(row.request_id, row.timestamp, tuple(lines)))
                if len(lists) >= limit or len(rows) < size:
                    return lists[:limit]
                page = newest.where(table.sequence < rows[-1].sequence)

    def add_audit(self, tenant: str, line: AuditLine) -> bool:
        """Note who did what; return False where the store is too busy and it is lost.

        Raises:
            DataError: a field cannot be stored.
        """
        check_tenant(tenant)
        return self._writing().buffer(_append_audit, (tenant, [audit_row(tenant, line, "audit")]))

    def audit(self, tenant: str, limit: int = 100) -> list[AuditLine]:
        """Return the newest `limit` lines, the newest first."""
        table = schema.audit.c
        newest = (
            select(table.timestamp, table.actor, table.action, table.subject, table.detail)
            .where(table.tenant == tenant)
            .order_by(table.sequence.desc())
            .limit(limit)
        )
        with self._read() as connection:
            return [
                AuditLine(row.timestamp, row.actor, row.action, row.subject, json.loads(row.detail))
                for row in connection.execute(newest)
            ]

    def flush(self) -> None:
        """Wait until all that was submitted so far is on disk."""
        self._write(lambda connection: None)


def unnamed(connection: Connection, tenant: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of impressions, those of erased shoppers without their name; the tenant is made if it is new."""
    sql.salt(connection, tenant)
    erased = erased_among(connection, tenant, {row["user_id"] for row in rows if row["user_id"] is not None})
    return [{**row, "user_id": None} if row["user_id"] in erased else row for row in rows]


def store_audit(connection: Connection, tenant: str, rows: list[dict[str, Any]]) -> int:
    """Insert audit lines after those that are there, erased shoppers unnamed; return how many."""
    numbers = sql.numbers(connection, tenant, "audit", len(rows))
    erased = erased_among(connection, tenant, {row["subject"] for row in rows})
    anonymous = {"subject": ANONYMOUS, "detail": "{}"}
    named = [{**row, **anonymous} if row["subject"] in erased else row for row in rows]
    numbered = [{**row, "sequence": number} for row, number in zip(named, numbers, strict=True)]
    connection.execute(schema.audit.insert(), numbered)
    return len(rows)


def _append_impressions(connection: Connection, batches: list[Batch]) -> list[None]:
    for tenant, rows in _by_tenant(batches).items():
        sql.put_new(connection, schema.impressions, unnamed(connection, tenant, rows))
    return [None] * len(batches)


def _append_audit(connection: Connection, batches: list[Batch]) -> list[None]:
    for tenant, rows in _by_tenant(batches).items():
        store_audit(connection, tenant, rows)
    return [None] * len(batches)


def _append_arrangements(connection: Connection, batches: list[tuple[str, list[dict[str, Any]], int]]) -> list[None]:
    keep = {tenant: most for tenant, _, most in batches}
    for tenant, rows in _by_tenant([(tenant, rows) for tenant, rows, _ in batches]).items():
        numbers = sql.numbers(connection, tenant, "arrangements", len(rows))
        table = schema.arrangements
        connection.execute(
            table.insert(), [{**row, "sequence": number} for row, number in zip(rows, numbers, strict=True)]
        )
        if numbers.start // TRIMMED != numbers.stop // TRIMMED:
            old = numbers[-1] - keep[tenant]
            connection.execute(delete(table).where(table.c.tenant == tenant, table.c.sequence <= old))
    return [None] * len(batches)


def _by_tenant(batches: list[Batch]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for tenant, rows in batches:
        if rows:
            found.setdefault(tenant, []).extend(rows)
    return found


def audit_row(tenant: str, line: AuditLine, place: str) -> dict[str, Any]:
    """Return the row of an audit line, checked; its number is given when it is stored.

    Raises:
        DataError: a field cannot be stored.
    """
    return {
        "tenant": tenant,
        "timestamp": check_time(line.timestamp, f"{place}.timestamp"),
        "actor": check_text(line.actor, f"{place}.actor"),
        "action": check_text(line.action, f"{place}.action"),
        "subject": check_text(line.subject, f"{place}.subject"),
        "detail": as_document(dict(line.detail), f"{place}.detail"),
    }


def impression_row(tenant: str, one: Impression, place: str) -> dict[str, Any]:
    """Return the row of an impression, checked.

    Raises:
        DataError: a field cannot be stored.
    """
    propensities = one.propensities
    if propensities is not None:
        propensities = tuple(check_number(chance, f"{place}.propensities") for chance in propensities)
    rest = dataclasses.asdict(one)
    rest = {name: rest[name] for name in ("experiment", "variant", "model_version", "strategy", "degraded")}
    rest |= {
        "item_ids": [check_id(item, f"{place}.item_ids") for item in one.item_ids],
        "propensities": propensities,
    }
    return {
        "tenant": tenant,
        "request_id": check_id(one.request_id, f"{place}.request_id"),
        "timestamp": check_time(one.timestamp, f"{place}.timestamp"),
        "user_id": check_optional_id(one.user_id, f"{place}.user_id"),
        "document": as_document(rest, place),
    }


def shown(row: Any) -> Impression:  # noqa: ANN401  # a row of SQLAlchemy
    """Return the impression that a row holds."""
    values = json.loads(row.document)
    for name in ("item_ids", "propensities"):
        values[name] = None if values[name] is None else tuple(values[name])
    return Impression(row.request_id, row.timestamp, row.user_id, **values)
