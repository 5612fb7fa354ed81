"""A whole tenant as JSON lines: to move it, to keep it, to read it with other tools; the same for every database."""

from __future__ import annotations

import dataclasses
import json
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from tastemaker.errors import DataError
from tastemaker.store import schema, sql
from tastemaker.store.parts.events import COLUMNS, append
from tastemaker.store.parts.events import row as event_row
from tastemaker.store.parts.items import document_of, stored_item
from tastemaker.store.parts.items import put as put_items
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.parts.tombstones import erased_among
from tastemaker.store.parts.traces import audit_row, impression_row, shown, store_audit, unnamed
from tastemaker.store.parts.users import put as put_users
from tastemaker.store.parts.users import row as user_row
from tastemaker.store.reading import record
from tastemaker.store.records import AuditLine, Event, Impression, Item, User, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import Connection, Table

FORMAT = 1
BATCH = 1_000
"""Lines in one transaction."""
AS_THEY_ARE: dict[str, Table] = {
    "tombstone": schema.tombstones,
    "key": schema.keys,
    "model": schema.models,
    "job": schema.jobs,
    "rules": schema.rules,
    "experiment": schema.experiments,
}
"""Kinds of lines that hold the columns of a table; keys with the hash of their secret, so that they still open."""
JSON_COLUMNS = ("document", "facts")
ADDED: dict[str, frozenset[str]] = {"model": frozenset({"digest"})}
"""Kind -> columns that lines written by older releases lack; they stay empty."""
COUNTED = {"rules": (schema.rules.c.version, "rules"), "model": (schema.models.c.activation, "activations")}
"""Kind -> the column whose numbers a counter gives, and the counter."""

FOLLOWED = {"tombstone": "erasures", "model": "models", "experiment": "experiments"}
"""Kind -> the counter of its changes."""


class Interchange(Part):
    """Export and import of a tenant."""

    def export_tenant(self, tenant: str) -> Iterator[dict[str, Any]]:
        """Yield everything of a tenant, one JSON value a line, as it is at one moment.

        The first has kind "tenant"; then come items, users, events, impressions and audit lines by their fields, and
        the rest by their columns. Deleted products, sequence numbers and rankings made ahead stay behind.
        """
        with self._database.snapshot() as connection:
            salt = connection.scalar(select(schema.tenants.c.salt).where(schema.tenants.c.tenant == tenant))
            if salt is None:
                return
            yield {"kind": "tenant", "format": FORMAT, "tenant": tenant, "salt": salt}
            for kind, table in AS_THEY_ARE.items():
                for row in connection.execute(
                    select(table).where(table.c.tenant == tenant).order_by(*table.primary_key)
                ).mappings():
                    values = {name: value for name, value in row.items() if name != "tenant"}
                    values |= {name: json.loads(values[name]) for name in JSON_COLUMNS if name in values}
                    yield {"kind": kind, **values}
            for kind, records in self._records(connection, tenant):
                for one in records:
                    yield {"kind": kind, **dataclasses.asdict(one)}

    def import_tenant(self, tenant: str, lines: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, int]:
        """Take in what `export_tenant` gave, or lines of the same form from elsewhere; return how many, by kind.

        Products and shoppers replace those of the same id; of all other rows those that are there already stay, so the
        same lines again do no harm. Events of erased shoppers stay out.

        Args:
            tenant: where it goes; it need not be the one that it came from.
            lines: place and value of each, see `reading.parsed`.

        Raises:
            DataError: a line cannot be stored; those of the batches before it are.
        """
        check_tenant(tenant)
        counts: dict[str, int] = {}
        for kind, group in groupby(lines, key=lambda line: line[1].get("kind")):
            while batch := list(islice(group, BATCH)):
                taken = [(place, {**value}) for place, value in batch]
                for _, value in taken:
                    value.pop("kind", None)
                work = self._import(tenant, kind, taken)
                counts[str(kind)] = counts.get(str(kind), 0) + self._write(work, weight=len(batch))
        return counts

    def _records(self, connection: Connection, tenant: str) -> Iterator[tuple[str, Iterator[Any]]]:
        items, users, events = schema.items.c, schema.users.c, schema.events.c
        impressions, audit = schema.impressions.c, schema.audit.c
        rows = connection.execution_options(yield_per=BATCH).execute
        catalogue = select(items.item_id, items.document).where(items.tenant == tenant, items.deleted.is_(False))
        yield "item", (stored_item(*row) for row in rows(catalogue.order_by(items.revision)))
        shoppers = select(users.user_id, users.document, users.updated_at).where(users.tenant == tenant)
        yield "user", (User(row.user_id, json.loads(row.document), row.updated_at) for row in rows(shoppers))
        log = select(*COLUMNS).where(events.tenant == tenant).order_by(events.sequence)
        yield "event", (Event(*row) for row in rows(log))
        lists = select(impressions.request_id, impressions.timestamp, impressions.user_id, impressions.document)
        yield (
            "impression",
            (shown(row) for row in rows(lists.where(impressions.tenant == tenant).order_by(impressions.timestamp))),
        )
        done = select(audit.timestamp, audit.actor, audit.action, audit.subject, audit.detail)
        yield (
            "audit",
            (
                AuditLine(row.timestamp, row.actor, row.action, row.subject, json.loads(row.detail))
                for row in rows(done.where(audit.tenant == tenant).order_by(audit.sequence))
            ),
        )

    def _import(
        self, tenant: str, kind: object, batch: list[tuple[str, dict[str, Any]]]
    ) -> Callable[[Connection], int]:
        """Return what stores a batch of one kind and counts the rows that were new."""
        if kind == "tenant":
            [(place, head), *_] = batch
            return lambda connection: _head(connection, tenant, head, place)
        if kind in AS_THEY_ARE:
            return lambda connection: _as_they_are(connection, tenant, str(kind), batch)
        if kind == "item":
            stamp = now()
            items = [(record(Item, value, place), place) for place, value in batch]
            documents = {item.item_id: document_of(item, place, stamp) for item, place in items}
            return lambda connection: _items(connection, tenant, documents)
        if kind == "user":
            rows = [user_row(tenant, record(User, value, place), place) for place, value in batch]
            return lambda connection: _users(connection, tenant, rows)
        if kind == "event":
            events = [event_row(record(Event, value, place), place) for place, value in batch]
            return lambda connection: append(connection, [(tenant, events)])[0].count("accepted")
        if kind == "impression":
            rows = [impression_row(tenant, record(Impression, value, place), place) for place, value in batch]
            return lambda connection: sql.count_new(connection, schema.impressions, unnamed(connection, tenant, rows))
        if kind == "audit":
            rows = [audit_row(tenant, record(AuditLine, value, place), place) for place, value in batch]
            return lambda connection: _audit(connection, tenant, rows)
        known = ", ".join(("tenant", *AS_THEY_ARE, "item", "user", "event", "impression", "audit"))
        raise DataError(f"{batch[0][0]}: kind {kind!r} is unknown; known: {known}")


def _head(connection: Connection, tenant: str, head: Mapping[str, Any], place: str) -> int:
    """Make the tenant with its salt, or see that it has the same."""
    salt = head.get("salt")
    if head.get("format") != FORMAT or not isinstance(salt, str) or len(salt) != 2 * sql.SALT_BYTES:
        raise DataError(f"{place}: format {head.get('format')!r}; this release reads {FORMAT}")
    try:
        bytes.fromhex(salt)
    except ValueError as error:
        raise DataError(f"{place}: salt: {error}") from error
    sql.put_new(connection, schema.tenants, [{"tenant": tenant, "salt": salt, "created_at": now()}])
    if sql.salt(connection, tenant).hex() != salt:
        raise DataError(
            f"{place}: tenant {tenant!r} is there already, with hashes of its own; import into a new tenant (--tenant)"
        )
    return 1


def _items(connection: Connection, tenant: str, documents: Mapping[str, str]) -> int:
    put_items(connection, tenant, documents)
    return len(documents)


def _users(connection: Connection, tenant: str, rows: list[dict[str, Any]]) -> int:
    sql.salt(connection, tenant)
    erased = erased_among(connection, tenant, {row["user_id"] for row in rows})
    rows = [row for row in rows if row["user_id"] not in erased]
    put_users(connection, tenant, rows)
    return len(rows)


def _audit(connection: Connection, tenant: str, rows: list[dict[str, Any]]) -> int:
    """Store lines that are not there yet; they have no id, so all their fields are compared."""
    lines = schema.audit
    new = []
    for row in rows:
        same = [lines.c[name] == value for name, value in row.items()]
        if connection.scalar(select(lines.c.sequence).where(*same).limit(1)) is None:
            new.append(row)
    return store_audit(connection, tenant, new) if new else 0


def _as_they_are(connection: Connection, tenant: str, kind: str, batch: list[tuple[str, dict[str, Any]]]) -> int:
    table = AS_THEY_ARE[kind]
    names = {column.name for column in table.c} - {"tenant"}
    since = ADDED.get(kind, frozenset())
    sql.salt(connection, tenant)
    rows = []
    for place, value in batch:
        if wrong := set(value) - names or names - since - set(value):
            fields = ", ".join(sorted(wrong))
            raise DataError(f"{place}: a line of kind {kind!r} needs exactly the fields of the table; see {fields}")
        row = {"tenant": tenant, **dict.fromkeys(since), **value}
        row |= {name: json.dumps(row[name], ensure_ascii=False) for name in JSON_COLUMNS if name in row}
        if kind == "model" and row["state"] == "active" and _has_active(connection, tenant, row["version"]):
            row["state"] = "retired"
        rows.append(row)
    new = sql.count_new(connection, table, rows)
    if new and kind in FOLLOWED:
        sql.changed(connection, tenant, FOLLOWED[kind])
    if kind in COUNTED:
        _count_on(connection, tenant, kind)
    return new


def _has_active(connection: Connection, tenant: str, version: str) -> bool:
    models = schema.models.c
    active = select(models.version).where(models.tenant == tenant, models.state == "active", models.version != version)
    return connection.scalar(active) is not None


def _count_on(connection: Connection, tenant: str, kind: str) -> None:
    """Let a counter go on after the highest number that came in."""
    column, name = COUNTED[kind]
    highest = connection.scalar(select(func.max(column)).where(column.table.c.tenant == tenant)) or 0
    if sql.current(connection, tenant, name) < highest:
        sql.numbers(connection, tenant, name, 1)
        counters = schema.counters
        mine = (counters.c.tenant == tenant) & (counters.c.name == name)
        connection.execute(update(counters).where(mine).values(value=highest))
