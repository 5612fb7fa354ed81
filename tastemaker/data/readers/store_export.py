"""What a service has stored, as `tastemaker db export` writes it: to learn anew from events that came over HTTP.

Events are the log: times in milliseconds, event_type, value, session_id and request_id stay. Those that say nothing of
taste are left out; one against a product ("return", "dislike") takes along what its shopper did with the product
before, and looks at it afterwards, as in the service. Products are those that were put into the store; attributes
become columns. All other lines (lists shown, rules, keys, models, attributes of shoppers) are not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tastemaker.data.checks.problems import counted, no_problems
from tastemaker.data.event_types import AGAINST, LOOKS, NEUTRAL, plain
from tastemaker.data.readers.json_lines import parse_json_lines, sniff_json, tabulate
from tastemaker.data.readers.table import Table, Tables
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tastemaker.data.readers.json_lines import Parsed
    from tastemaker.progress import Progress

NAME = "store"
EVENT = ("user_id", "item_id", "timestamp", "event_type", "value", "session_id", "request_id", "event_id")
ITEM = (
    *("item_id", "title", "description", "brand", "categories", "price", "currency", "availability", "image_link"),
    *("group_id", "created_at", "hidden"),
)


def recognises(source: Path) -> bool:
    """Whether a file begins as an export does."""
    first = sniff_json(source) if source.is_file() else {}
    return first.get("kind") == "tenant" and {"format", "tenant", "salt"} <= first.keys()


def load(source: Path, progress: Progress) -> Tables:
    """Read events and products.

    Raises:
        DataError: neither is there, or the file cannot be read.
    """
    (path,) = progress([source], label="reading files")
    parsed = parse_json_lines(path, keep=_kept)
    rows, notes = _interactions(parsed)
    items = _items(parsed._replace(problems=no_problems(), notes=()) if rows else parsed)
    if not rows:
        if items is None:
            raise DataError(f"{path}: the store has neither an event that says something nor a product")
        return Tables(None, items.with_frame(items.frame, *notes), partial=("items",))
    numbers, events = zip(*rows, strict=True)
    log = tabulate(parsed._replace(rows=list(events), numbers=list(numbers)), ids=_ids)
    return Tables(_filled(log, *notes), items, partial=("items",) if items is not None else ())


def load_items(source: Path, progress: Progress) -> Tables:
    """Read the products alone.

    Raises:
        DataError: there is none, or the file cannot be read.
    """
    (path,) = progress([source], label="reading files")
    items = _items(parse_json_lines(path, keep=_kept))
    if items is None:
        raise DataError(f"{path}: no product was put into the store")
    return Tables(None, items, partial=("items",))


def _kept(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the kind of a line, and the fields of an event or a product; nothing of other lines."""
    kind = str(row.get("kind"))
    if kind == "event":
        return kind, {name: row.get(name) for name in EVENT}
    if kind != "item":
        return kind, {}
    more = row.get("attributes")
    columns = {name: value for name, value in more.items() if name not in ITEM} if isinstance(more, dict) else {}
    return kind, {**columns, **{name: row.get(name) if row.get(name) != "" else None for name in ITEM}}


def _of_kind(parsed: Parsed, wanted: str) -> list[tuple[int, dict[str, Any]]]:
    """Return line and fields of each line of one kind."""
    return [(number, row) for number, (kind, row) in zip(parsed.numbers, parsed.rows, strict=True) if kind == wanted]


def _interactions(parsed: Parsed) -> tuple[list[tuple[int, dict[str, Any]]], list[str]]:
    """Return line and fields of each event that counts, in order of time, and what is to be said of the others."""
    lines = _of_kind(parsed, "event")
    lines.sort(key=lambda line: line[1]["timestamp"] if isinstance(line[1]["timestamp"], int) else 0)
    pairs: dict[tuple[str, str], list[int]] = {}
    unwanted: set[tuple[str, str]] = set()
    neutral, against, out = 0, 0, set()
    for place, (_, event) in enumerate(lines):
        pair, kind = (str(event["user_id"]), str(event["item_id"])), plain(str(event["event_type"] or ""))
        if kind in NEUTRAL:
            neutral += 1
            out.add(place)
        elif kind in AGAINST:
            against += 1
            out |= {place, *pairs.pop(pair, ())}
            unwanted.add(pair)
        elif kind in LOOKS and pair in unwanted:
            out.add(place)
        else:
            unwanted.discard(pair)
            pairs.setdefault(pair, []).append(place)
    taken = len(out) - neutral - against
    notes = [f"{parsed.file}: left out, they say nothing of taste: {counted(neutral, 'event')}"] if neutral else []
    if against:
        what = "and what was done with the product before, or looked at after"
        words = f"{counted(against, 'event')}, {what}: {counted(taken, 'event')}"
        notes.append(f"{parsed.file}: left out, against a product: {words}")
    return [line for place, line in enumerate(lines) if place not in out], notes


def _items(parsed: Parsed) -> Table | None:
    pairs = _of_kind(parsed, "item")
    if not pairs:
        return None
    numbers, rows = zip(*pairs, strict=True)
    return _filled(tabulate(parsed._replace(rows=list(rows), numbers=list(numbers)), ids=_ids))


def _filled(table: Table, *notes: str) -> Table:
    """Drop the columns in which nothing stands."""
    frame = table.frame
    return table.with_frame(
        frame.drop(n for n in frame.columns if n not in _ids(frame.columns) and not frame[n].count()), *notes
    )


def _ids(names: list[str]) -> list[str]:
    return [name for name in ("user_id", "item_id") if name in names]
