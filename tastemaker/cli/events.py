"""`tastemaker events`: put events into a store, look at them, copy them to another store."""

from __future__ import annotations

import dataclasses
import hashlib
import json as json_module
import re
import time as clock
from contextlib import nullcontext
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import typer

from tastemaker.cli import options
from tastemaker.cli.output import note, print_json, print_table
from tastemaker.cli.stores import STORE_OPTION, TENANT_OPTION, lines_of, opened, when
from tastemaker.data.checks.problems import counted
from tastemaker.errors import ConfigError, DataError
from tastemaker.store.fields import SECONDS_BELOW
from tastemaker.store.reading import parsed, record
from tastemaker.store.records import Event, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tastemaker.store.store import Store

app = typer.Typer(help="Put events into a store, look at them, copy them to another store.", no_args_is_help=True)

BATCH = 1_000
"""Events in one commit."""
PAUSE = 0.5
"""Seconds between two looks with --follow."""
COLUMNS = ("timestamp", "user_id", "item_id", "event_type", "value", "request_id", "event_id")


@app.command()
def add(
    file: str | None = typer.Argument(
        None, metavar="[FILE]", help="JSON lines with the fields of an event; - is stdin."
    ),
    user: str | None = typer.Option(None, "--user", help="Instead of FILE: one event of this shopper ..."),
    item: str | None = typer.Option(None, "--item", help="... with this product ..."),
    type: str = typer.Option("view", "--type", help="... of this type ..."),
    time: int | None = typer.Option(
        None, "--time", help="... at this time, in milliseconds since 1970; now by default ..."
    ),
    value: float | None = typer.Option(None, "--value", help="... with this value."),
    event_id: str | None = typer.Option(None, "--event-id", help="Its id; made from the other fields by default."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Append events; those that are there already, by event_id, change nothing, so a file may be sent again.

    A line without event_id gets one made from its other fields, the same each time.
    """
    if (file is None) == (user is None or item is None):
        raise ConfigError("give a FILE of JSON lines, or --user and --item")
    counts = {"accepted": 0, "duplicate": 0, "erased": 0}
    fields = {"user_id": user, "item_id": item, "event_type": type, "value": value, "event_id": event_id}
    given = {**fields, "timestamp": now() if time is None else time}
    with nullcontext() if file is None else lines_of(file) as lines:
        rows = [("event", given)] if lines is None else parsed(lines, file or "")
        events = ((place, _event(values, place)) for place, values in rows)
        first = list(islice(events, BATCH))  # a file that cannot be read makes no store
        with opened(store, write=True, create=True, upgrade=True) as target:
            try:
                for batch in chain([first], iter(lambda: list(islice(events, BATCH)), [])):
                    _append_checked(target, tenant, batch, counts)
            except DataError as error:
                stored = f"; {counts['accepted']:,} events of the lines before are stored" if counts["accepted"] else ""
                raise DataError(f"{error}{stored}") from error
    if json:
        print_json(counts)
    else:
        print_table(list(counts), [list(counts.values())])


@app.command()
def tail(
    count: int = typer.Option(20, "-n", "--lines", min=0, help="How many of the newest."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on with those that come; Ctrl-C ends it."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = typer.Option(False, "--json", help="Print JSON lines instead of a table."),
) -> None:
    """Print the events that came last, the newest at the end."""
    with opened(store, write=False) as source:
        last = source.last_sequence(tenant)
        found = source.newest_events(tenant, count)
        _show([event for _, event in found], json=json)
        while follow:
            clock.sleep(PAUSE)
            for number, event in source.events_after(tenant, last):
                print_json(_plain(event), indent=None)
                last = number


@app.command()
def replay(
    to: str = typer.Option(..., "--to", metavar="URL", help="The other store; made where it is missing."),
    after: int = typer.Option(0, "--after", min=0, help="Leave out events up to this sequence number."),
    store: str | None = STORE_OPTION,
    tenant: str = TENANT_OPTION,
    json: bool = options.JSON,
) -> None:
    """Append all events of a store to another, in the order in which they came; again does no harm."""
    counts = {"accepted": 0, "duplicate": 0, "erased": 0}
    last = after
    with opened(store, write=False) as source, opened(to, write=True, create=True, upgrade=True) as target:
        while page := source.events_after(tenant, last, limit=BATCH):
            _append(target, tenant, [event for _, event in page], counts)
            last = page[-1][0]
    if json:
        print_json({**counts, "last_sequence": last})
    else:
        print_table([*counts, "last sequence"], [[*counts.values(), last]])


def _append_checked(store: Store, tenant: str, batch: list[tuple[str, Event]], counts: dict[str, int]) -> None:
    """Append events; an error names the line instead of the place in the batch."""
    early = [place for place, event in batch if type(event.timestamp) is int and 0 < event.timestamp < SECONDS_BELOW]
    if early:
        note(f"warning: {early[0]}: {counted(len(early), 'time')} before 1973 look like seconds; write milliseconds")
    try:
        _append(store, tenant, [event for _, event in batch], counts)
    except DataError as error:
        found = re.match(r"events\[(\d+)\]", str(error))
        if found is None:
            raise
        raise DataError(f"{batch[int(found[1])][0]}{str(error)[found.end() :]}") from error


def _append(store: Store, tenant: str, events: list[Event], counts: dict[str, int]) -> None:
    for status in store.append_events(tenant, events):
        counts[status] += 1


def _event(values: dict[str, Any], place: str) -> Event:
    """Return the event of a line; without an id it gets one made of its fields."""
    known = {name: value for name, value in values.items() if value is not None}
    if "event_id" not in known:
        text = json_module.dumps(known, sort_keys=True, default=str)
        known["event_id"] = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return record(Event, known, place)


def _show(events: Iterable[Event], *, json: bool) -> None:
    if json:
        for event in events:
            print_json(_plain(event), indent=None)
        return
    rows = list(_rows(events))
    if rows:
        print_table([name.removesuffix("_id") for name in COLUMNS], rows)
    else:
        note("no events")


def _rows(events: Iterable[Event]) -> Iterator[list[Any]]:
    for event in events:
        yield [when(event.timestamp), *(getattr(event, name) for name in COLUMNS[1:])]


def _plain(event: Event) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(event).items() if value is not None}
