"""Events: appended once, in an order that never changes; read by shopper, or after a place in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from tastemaker.errors import DataError
from tastemaker.store import schema, sql
from tastemaker.store.fields import check_count, check_id, check_number, check_optional_id, check_time
from tastemaker.store.parts.part import Part, check_tenant
from tastemaker.store.parts.tombstones import erased_among
from tastemaker.store.records import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from tastemaker.store.records import Status

COLUMNS = [
    schema.events.c[name]
    for name in (
        *("event_id", "user_id", "item_id", "event_type", "timestamp"),
        *("value", "session_id", "request_id", "position"),
    )
]
"""In the order of the fields of `Event`; in the table they follow tenant and sequence."""

Row = tuple[Any, ...]
"""Values of `COLUMNS`."""


class Events(Part):
    """The log of what shoppers did."""

    def submit_events(self, tenant: str, events: Sequence[Event]) -> Future[list[Status]]:
        """Append events without waiting.

        Returns:
            A future that is done when they are on disk: what became of each.

        Raises:
            DataError: a field of an event cannot be stored; none is.
            StoreBusy: too much waits to be written already.
        """
        check_tenant(tenant)
        rows = [row(event, f"events[{place}]") for place, event in enumerate(events)]
        return self._submit(append, (tenant, rows), weight=len(rows))

    def append_events(self, tenant: str, events: Sequence[Event]) -> list[Status]:
        """Append events and wait until they are on disk; return what became of each.

        Raises:
            StoreError: they could not be written; send them again, those that are there will be duplicates.
            DataError: a field of an event cannot be stored; none is.
        """
        return self.submit_events(tenant, events).result()

    def history(self, tenant: str, user_id: str, limit: int = 200) -> list[Event]:
        """Return the newest `limit` events of a shopper, oldest first; at equal times in the order they came."""
        check_id(user_id, "user_id")
        table = schema.events.c
        newest = (
            select(*COLUMNS)
            .where(table.tenant == tenant, table.user_id == user_id)
            .order_by(table.timestamp.desc(), table.sequence.desc())
            .limit(limit)
        )
        with self._read() as connection:
            return [Event(*found) for found in connection.execute(newest).all()][::-1]

    def interactions(
        self, tenant: str, user_id: str, *, minor: Collection[str] = (), events: int = 100_000, limit: int = 20_000
    ) -> list[tuple[str, str, int]]:
        """Return what a shopper did with which product, each kind of event once: (item id, event type, newest time).

        The order is that of the newest time, oldest first; at equal times that in which the events came. The database
        puts repeats together, so a shopper of many events costs no memory here.

        Args:
            tenant: whose rows.
            user_id: the shopper.
            minor: event types, in lower case and with "_", that give way to all others where `limit` is reached.
            events: so many of the newest events are looked at, which bounds the time for those who never stop.
            limit: so many are returned, the newest.
        """
        check_id(user_id, "user_id")
        table = schema.events.c
        newest = (
            select(table.item_id, table.event_type, table.timestamp, table.sequence)
            .where(table.tenant == tenant, table.user_id == user_id)
            .order_by(table.timestamp.desc(), table.sequence.desc())
            .limit(events)
            .subquery()
            .c
        )
        order = (newest.timestamp.desc(), newest.sequence.desc())
        place = func.row_number().over(partition_by=(newest.item_id, newest.event_type), order_by=order)
        last = select(newest.item_id, newest.event_type, newest.timestamp, newest.sequence, place.label("place"))
        first = last.subquery().c
        kind = func.lower(func.replace(first.event_type, "-", "_"))
        found = (
            select(first.timestamp, first.sequence, first.item_id, first.event_type)
            .where(first.place == 1)
            .order_by(case((kind.in_(sorted(minor)), 1), else_=0), first.timestamp.desc(), first.sequence.desc())
            .limit(limit)
        )
        with self._read() as connection:
            rows = sorted(tuple(row) for row in connection.execute(found))
        return [(item_id, event_type, when) for when, _, item_id, event_type in rows]

    def events_after(self, tenant: str, sequence: int, limit: int = 1000) -> list[tuple[int, Event]]:
        """Return events with their sequence numbers, in the order in which they came, after a sequence number.

        Numbers rise but have gaps; an event that appears later never has a smaller one.
        """
        table = schema.events.c
        following = (
            select(table.sequence, *COLUMNS)
            .where(table.tenant == tenant, table.sequence > sequence)
            .order_by(table.sequence)
            .limit(limit)
        )
        with self._read() as connection:
            return [(number, Event(*rest)) for number, *rest in connection.execute(following)]

    def newest_events(self, tenant: str, limit: int = 20) -> list[tuple[int, Event]]:
        """Return the events that came last, with their sequence numbers, the newest at the end."""
        table = schema.events.c
        newest = (
            select(table.sequence, *COLUMNS).where(table.tenant == tenant).order_by(table.sequence.desc()).limit(limit)
        )
        with self._read() as connection:
            return [(number, Event(*rest)) for number, *rest in connection.execute(newest)][::-1]

    def recent_users(self, tenant: str, limit: int, *, since: int = 0) -> list[str]:
        """Return the shoppers whose events came last, the latest first.

        Args:
            tenant: whose shoppers.
            limit: how many at most.
            since: milliseconds since 1970; those without an event from then on are left out.
        """
        table = schema.events.c
        latest = func.max(table.sequence)
        mine = select(table.user_id).where(table.tenant == tenant, table.timestamp >= since)
        with self._read() as connection:
            return list(connection.scalars(mine.group_by(table.user_id).order_by(latest.desc()).limit(limit)))

    def last_sequence(self, tenant: str) -> int:
        """Return the sequence number given last, 0 before the first event."""
        with self._read() as connection:
            return sql.current(connection, tenant, "events")


def append(connection: Connection, batches: list[tuple[str, list[Row]]]) -> list[list[Status]]:
    """Insert the new ones among rows of any tenants; return what became of each."""
    by_tenant: dict[str, list[Row]] = {}
    for tenant, rows in batches:
        by_tenant.setdefault(tenant, []).extend(rows)
    known = {tenant: _known(connection, tenant, rows) for tenant, rows in by_tenant.items()}
    erased = {tenant: erased_among(connection, tenant, {row[1] for row in rows}) for tenant, rows in by_tenant.items()}
    fresh: dict[str, list[Row]] = {tenant: [] for tenant in by_tenant}
    outcomes: list[list[Status]] = []
    for tenant, rows in batches:
        statuses: list[Status] = []
        for row in rows:
            if row[0] in known[tenant]:
                statuses.append("duplicate")
            elif row[1] in erased[tenant]:
                statuses.append("erased")
            else:
                statuses.append("accepted")
                known[tenant].add(row[0])
                fresh[tenant].append(row)
        outcomes.append(statuses)
    for tenant, rows in fresh.items():
        if rows:
            numbers = sql.numbers(connection, tenant, "events", len(rows))
            numbered = [(tenant, number, *row) for number, row in zip(numbers, rows, strict=True)]
            sql.insert_rows(connection, schema.events, numbered)
    return outcomes


def _known(connection: Connection, tenant: str, rows: list[Row]) -> set[str]:
    condition, values = sql.among(connection, schema.events.c.event_id, [row[0] for row in rows])
    there = select(schema.events.c.event_id).where(schema.events.c.tenant == tenant, condition)
    return set(connection.scalars(there, {"values": values}))


def row(event: Event, place: str) -> Row:
    """Return the fields of an event, checked, in the order of `COLUMNS`.

    Raises:
        DataError: a field cannot be stored.
    """
    try:
        return (
            check_id(event.event_id, "event_id"),
            check_id(event.user_id, "user_id"),
            check_id(event.item_id, "item_id"),
            check_id(event.event_type, "event_type"),
            check_time(event.timestamp, "timestamp"),
            None if event.value is None else check_number(event.value, "value"),
            check_optional_id(event.session_id, "session_id"),
            check_optional_id(event.request_id, "request_id"),
            None if event.position is None else check_count(event.position, "position"),
        )
    except DataError as error:
        raise DataError(f"{place}.{error}") from error
