"""The rights of a shopper: to see everything about them, and to have it erased, from the disk too."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update

from tastemaker.store import schema, sql
from tastemaker.store.fields import check_id
from tastemaker.store.parts.events import COLUMNS
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.parts.rankings import COLUMNS as RANKING
from tastemaker.store.parts.rankings import made, texts_of
from tastemaker.store.parts.tombstones import erased_among, tombstone
from tastemaker.store.parts.traces import ANONYMOUS
from tastemaker.store.records import Event, Receipt, now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Connection


class Erasure(Part):
    """Export and erasure of a shopper."""

    def export_user(self, tenant: str, user_id: str) -> Iterator[dict[str, Any]]:
        """Yield all that is stored about a shopper, one JSON value a row, each with its "kind"."""
        check_id(user_id, "user_id")
        events, impressions, audit = schema.events.c, schema.impressions.c, schema.audit.c
        mine = select(schema.users).where(schema.users.c.tenant == tenant, schema.users.c.user_id == user_id)
        with self._database.snapshot() as connection:
            for row in connection.execute(mine):
                attributes = json.loads(row.document)
                yield {"kind": "user", "user_id": user_id, "attributes": attributes, "updated_at": row.updated_at}
            log = select(*COLUMNS).where(events.tenant == tenant, events.user_id == user_id).order_by(events.sequence)
            for row in connection.execute(log):
                yield {"kind": "event", **dataclasses.asdict(Event(*row))}
            ahead = schema.rankings.c
            for row in connection.execute(select(*RANKING).where(ahead.tenant == tenant, ahead.user_id == user_id)):
                yield {"kind": "ranking", **dataclasses.asdict(made(row))}
            shown = (
                select(impressions.request_id, impressions.timestamp, impressions.document)
                .where(impressions.tenant == tenant, impressions.user_id == user_id)
                .order_by(impressions.timestamp, impressions.request_id)
            )
            for request_id, timestamp, document in connection.execute(shown):
                head = {"kind": "impression", "request_id": request_id, "timestamp": timestamp, "user_id": user_id}
                yield {**head, **json.loads(document)}
            lines = (
                select(audit.timestamp, audit.actor, audit.action, audit.detail)
                .where(audit.tenant == tenant, audit.subject == user_id)
                .order_by(audit.sequence)
            )
            for timestamp, actor, action, detail in connection.execute(lines):
                head = {"kind": "audit", "timestamp": timestamp, "actor": actor, "action": action}
                yield {**head, "subject": user_id, "detail": json.loads(detail)}

    def erase_user(self, tenant: str, user_id: str) -> Receipt:
        """Erase a shopper: events, attributes, ranking, and the name in impressions and audit lines; on disk, too.

        Events that arrive later are refused, known by a keyed hash of the id, which is all that stays. Erasing a
        shopper that is unknown, or again, does no harm.

        Raises:
            StoreBusy: the rows are gone, but another reader keeps old pages alive; asking again ends the work.
            DataError: it is no id.
        """
        check_tenant(tenant)
        check_id(user_id, "user_id")
        stamp = now()

        def remove(connection: Connection) -> tuple[str, dict[str, int], set[str]]:
            name = tombstone(sql.salt(connection, tenant), user_id)
            texts = _texts(connection, tenant, user_id)
            counts = _remove(connection, tenant, user_id)
            sql.put(connection, schema.tombstones, [{"tenant": tenant, "user_hash": name, "erased_at": stamp}])
            sql.changed(connection, tenant, "erasures")
            return name, counts, texts

        name, counts, texts = self._write(remove)
        pages = self._database.scrub(user_id, texts, self._alone)
        facts = {"user_hash": name, "erased_at": stamp, "counts": counts, "pages": pages}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return Receipt(name, stamp, counts, pages, digest)

    def is_erased(self, tenant: str, user_id: str) -> bool:
        """Return whether a shopper was erased, and not readmitted."""
        check_id(user_id, "user_id")
        with self._read() as connection:
            return bool(erased_among(connection, tenant, [user_id]))

    def erased_of(self, tenant: str, user_ids: Collection[str]) -> set[str]:
        """Return those of some shoppers that were erased, and not readmitted."""
        with self._read() as connection:
            return erased_among(connection, tenant, user_ids)

    def erasures(self, tenant: str) -> tuple[int, int]:
        """Return how many shoppers are erased, and when the last one was (0 for none): another pair is news."""
        table = schema.tombstones.c
        counted = select(func.count(), func.coalesce(func.max(table.erased_at), 0)).where(table.tenant == tenant)
        with self._read() as connection:
            count, last = connection.execute(counted).one()
        return int(count), int(last)

    def readmit_user(self, tenant: str, user_id: str) -> bool:
        """Take events of a shopper again that was erased, as if new; return whether there was a tombstone."""
        check_id(user_id, "user_id")
        table = schema.tombstones

        def lift(connection: Connection) -> bool:
            name = tombstone(sql.salt(connection, tenant), user_id)
            gone = connection.execute(delete(table).where(table.c.tenant == tenant, table.c.user_hash == name))
            sql.changed(connection, tenant, "erasures")
            return gone.rowcount > 0

        return self._write(lift)


def _texts(connection: Connection, tenant: str, user_id: str) -> set[str]:
    """Return what the rows of a shopper say: ids of events and visits, attributes, sentences, audit details.

    Names are among them for the sake of older values of the same attributes, which nobody knows any more.
    """
    events, users, audit = schema.events.c, schema.users.c, schema.audit.c
    found: set[str] = set()
    log = select(events.event_id, events.session_id).where(events.tenant == tenant, events.user_id == user_id)
    for row in connection.execute(log):
        found |= {text for text in row if text}
    ahead = schema.rankings.c
    for row in connection.execute(
        select(ahead.digest, ahead.document).where(ahead.tenant == tenant, ahead.user_id == user_id)
    ):
        found |= {row.digest, *(json.dumps(text, ensure_ascii=False)[1:-1] for text in texts_of(row.document))}
    for table, who in ((users, users.user_id), (audit, audit.subject)):
        text = table.document if table is users else table.detail
        for document in connection.scalars(select(text).where(table.tenant == tenant, who == user_id)):
            found |= set(_strings(json.loads(document)))
    return found


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON value
    """Yield each text and each name in a JSON value as it stands in the file."""
    if isinstance(value, str):
        yield json.dumps(value, ensure_ascii=False)[1:-1]
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{json.dumps(name, ensure_ascii=False)}:"
            yield from _strings(inner)


def _remove(connection: Connection, tenant: str, user_id: str) -> dict[str, int]:
    counts = {}
    for table in (schema.events, schema.users, schema.rankings):
        mine = (table.c.tenant == tenant) & (table.c.user_id == user_id)
        counts[table.name] = connection.execute(delete(table).where(mine)).rowcount
    shown = schema.impressions
    mine = (shown.c.tenant == tenant) & (shown.c.user_id == user_id)
    counts["impressions"] = connection.execute(update(shown).where(mine).values(user_id=None)).rowcount
    lines = schema.audit
    mine = (lines.c.tenant == tenant) & (lines.c.subject == user_id)
    anonymous = {"subject": ANONYMOUS, "detail": "{}"}
    counts["audit"] = connection.execute(update(lines).where(mine).values(**anonymous)).rowcount
    return counts
