"""Metarank's event dump as JSON lines: item, user, ranking and interaction events in one file.

interaction events are the log: type is the event_type, ranking the request_id, id the event_id; where there is no user,
the session stands for one. fields become columns. item and user events are merged, later ones over earlier ones, field
by field. ranking events (what was shown) are counted and not read. Times are in milliseconds, or ISO 8601 text.
https://docs.metarank.ai/reference/event-schema
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tastemaker.data.checks.columns import KINDS
from tastemaker.data.checks.problems import counted, no_problems
from tastemaker.data.readers.headers import canonical_names
from tastemaker.data.readers.json_lines import first_objects, parse_json_lines, tabulate
from tastemaker.data.readers.table import Table, Tables, row_problems
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.data.readers.json_lines import Parsed
    from tastemaker.progress import Progress

NAME = "metarank"
KINDS_OF_EVENTS = ("item", "user", "ranking", "interaction")
NEEDED = {"item": ("item",), "user": ("user",), "ranking": (), "interaction": ("item", "type")}


def recognises(source: Path) -> bool:
    """Whether the first lines of a file are events of Metarank."""
    return source.is_file() and any(_is_event(row) for row in first_objects(source, count=5))


def load(source: Path, progress: Progress) -> Tables:
    """Read a file of events.

    Raises:
        DataError: no interaction or item event, or a file that cannot be read.
    """
    (path,) = progress([source], label="reading files")
    parsed = parse_json_lines(path, keep=_event)
    counts: Counter[str] = Counter(event["event"] for event in parsed.rows if event["event"] in KINDS_OF_EVENTS)
    if not counts["interaction"] and not counts["item"] and not parsed.problems.height:
        raise DataError(f"{path}: neither interaction nor item events; found: {dict(counts) or 'none'}")
    wrong = [(n, e) for n, e in zip(parsed.numbers, parsed.rows, strict=True) if not _is_whole(e)]
    hint = 'an event is "item" with item, "user" with user, "ranking", or "interaction" with item and type'
    problems = row_problems(
        [n for n, _ in wrong], [str(e) for _, e in wrong], file=parsed.file, rule="bad-event", hint=hint
    )
    log, notes = _log(parsed)
    notes += (
        [f"{path}: not read: {counted(counts['ranking'], 'ranking event')} (what was shown)"]
        if counts["ranking"]
        else []
    )
    items = None if log else _records(parsed, "item")
    first = log or items or tabulate(parsed._replace(rows=[], numbers=[]))
    first = first.with_problems(problems).with_frame(first.frame, *notes)
    if items is not None:
        return Tables(None, first, partial=("items",))
    bare = parsed._replace(problems=no_problems(), notes=())
    records = {"items": _records(bare, "item"), "users": _records(bare, "user")}
    partial = tuple(name for name, table in records.items() if table is not None)
    return Tables(first, records["items"], records["users"], partial=partial)


def load_items(source: Path, progress: Progress) -> Tables:
    """Read the item events alone.

    Raises:
        DataError: there is none, or the file cannot be read.
    """
    (path,) = progress([source], label="reading files")
    items = _records(parse_json_lines(path, keep=_event), "item")
    if items is None:
        raise DataError(f"{path}: no item events")
    return Tables(None, items, partial=("items",))


def _is_event(row: dict[str, Any]) -> bool:
    kind = row.get("event")
    return kind in KINDS_OF_EVENTS and "id" in row and any(name in row for name in ("item", "user", "items", "fields"))


def _event(row: dict[str, Any]) -> dict[str, Any]:
    """Return an event with its fields as an object; a ranking without what was shown."""
    event = {**row, "event": row["event"] if isinstance(row.get("event"), str) else ""}
    if event["event"] == "ranking":
        return {"event": "ranking"}
    fields = row.get("fields")
    pairs = fields if isinstance(fields, list) else []
    event["fields"] = {
        pair["name"]: pair.get("value")
        for pair in pairs
        if isinstance(pair, dict) and isinstance(pair.get("name"), str)
    }
    return event


def _is_whole(event: dict[str, Any]) -> bool:
    kind = event["event"]
    return kind in KINDS_OF_EVENTS and all(event.get(name) is not None for name in NEEDED[kind])


def _log(parsed: Parsed) -> tuple[Table | None, list[str]]:
    """Return the interactions, and what is to be said of them."""
    rows, numbers, nobody, sessions, hidden = [], [], 0, 0, set()
    for number, event in zip(parsed.numbers, parsed.rows, strict=True):
        if event["event"] != "interaction" or not _is_whole(event):
            continue
        user = event.get("user") or event.get("session")
        if not user:
            nobody += 1
            continue
        sessions += not event.get("user")
        own = {
            "user_id": user,
            "item_id": event["item"],
            "timestamp": event.get("timestamp"),
            "event_type": event["type"],
            "session_id": event.get("session"),
            "request_id": event.get("ranking"),
            "event_id": event.get("id"),
        }
        hidden |= event["fields"].keys() & own.keys()
        rows.append({**event["fields"], **own})
        numbers.append(number)
    notes = (
        [f"{parsed.file}: without a user, the session counts as one: {counted(sessions, 'interaction')}"]
        if sessions
        else []
    )
    notes += [f"{parsed.file}: left out, neither user nor session: {counted(nobody, 'interaction')}"] if nobody else []
    notes += [f"{parsed.file}: fields not read, as the event has them: {', '.join(sorted(hidden))}"] if hidden else []
    if not rows and not any(event["event"] == "interaction" for event in parsed.rows):
        return None, notes
    table = tabulate(parsed._replace(rows=rows, numbers=numbers), ids=_ids)
    empty = [name for name in table.frame.columns if not table.frame[name].count()]
    return table.with_frame(table.frame.drop(empty)), notes


def _records(parsed: Parsed, kind: str) -> Table | None:
    """Return the items or users as their events, merged, describe them; a record's line is that of its first event."""
    key = f"{kind}_id"
    records: dict[Any, dict[str, Any]] = {}
    numbers: list[int] = []
    for number, event in zip(parsed.numbers, parsed.rows, strict=True):
        if event["event"] != kind or not _is_whole(event):
            continue
        name = event[kind]
        mark = name if isinstance(name, str | int) else f"\\0{number}"
        if mark not in records:
            numbers.append(number)
        record = records.setdefault(mark, {key: name})
        record.update({field: value for field, value in event["fields"].items() if field != key})
    if not records:
        return None
    table = tabulate(parsed._replace(rows=list(records.values()), numbers=numbers), ids=_ids)
    taken = canonical_names(table.frame.columns, tuple(KINDS[f"{kind}s"]))
    notes = (f"{parsed.file}: field '{old}' taken as {new}" for old, new in taken.items())
    return table.with_frame(table.frame.rename(taken), *notes)


def _ids(names: list[str]) -> list[str]:
    return [name for name in ("user_id", "item_id") if name in names]
