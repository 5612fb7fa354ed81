"""Google Analytics 4 events as JSON lines: the BigQuery export, the Measurement Protocol, or logged dataLayer pushes.

One row an item of an event. Kept are the events in which a shopper turns to a product (`EVENTS`); lists that were
shown, removals, refunds and all other events are counted and left out. event_type is GA4's event name. The user is
user_id; where that is missing, the one user_id that goes with the device's user_pseudo_id everywhere else, else that
id itself. Events without both (no consent) are counted and left out. event_timestamp is in microseconds. price,
quantity and currency are of the purchase; session_id is ga_session_id. What the last lines say of a product (item_name,
item_brand, item_category to item_category5, price) is its record.

The export is sharded (events_20260131.json, events_intraday_20260201.json, gzip or not): a folder, or a pattern such as
events_202601*.json, is read as one log, its files in the order of their names. An event that an earlier file has too,
alike in all that is read of it, its time included, is left out and counted; within one file repeats stay.
https://support.google.com/analytics/answer/7029846, https://developers.google.com/analytics/devguides/collection/ga4/ecommerce
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from tastemaker.data.checks.problems import counted, no_problems
from tastemaker.data.readers.json_lines import Parsed, first_objects, parse_json_lines, tabulate
from tastemaker.data.readers.table import Table, Tables, row_problems
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tastemaker.progress import Progress

NAME = "ga4"
EVENTS = ("view_item", "select_item", "add_to_cart", "add_to_wishlist", "begin_checkout", "purchase")
NOT_SET = ("", "(not set)", "(not provided)", "(data deleted)")
FILE = re.compile(r"\.(json|jsonl|ndjson)(\.gz)?$", re.IGNORECASE)
TIMES = ("event_timestamp", "timestamp_micros", "timestamp", "event_time")
USERS = ("user_id", "userId")
DEVICES = ("user_pseudo_id", "client_id", "clientId", "app_instance_id")
SESSIONS = ("ga_session_id", "session_id")
PARAMETERS = frozenset({*SESSIONS, "transaction_id", "currency"})
CATEGORIES = ("item_category", *(f"item_category{level}" for level in range(2, 6)))


class _Event(NamedTuple):
    """What is kept of an event."""

    name: str
    user: Any
    device: Any
    columns: dict[str, Any]
    items: Any


def recognises(source: Path) -> bool:
    """Whether one of the first lines of a file is an event of GA4, or a folder or a pattern has such files."""
    return any(_is_export(path) for path in files_of(source))


def files_of(source: Path) -> list[Path]:
    """Return the files that may hold events, by name: a file, those of a folder, or those that fit a pattern."""
    if source.is_file():
        return [source]
    found = source.iterdir() if source.is_dir() else source.parent.glob(source.name)
    return sorted(path for path in found if FILE.search(path.name) and path.is_file())


def load(source: Path, progress: Progress) -> Tables:
    """Read a file of events, or the shards of an export as one log.

    Raises:
        DataError: no event with an item, or a file that cannot be read.
    """
    files = files_of(source)
    exports = [path for path in files if len(files) == 1 or _is_export(path)]
    log = _Log(str(source) if len(exports) != 1 else str(exports[0]))
    for path in progress(exports, label="reading files"):
        log.read(path)
    if others := [path.name for path in files if path not in exports]:
        log.notes.append(f"{source}: without an event of GA4, left out: {', '.join(others[:5])}")
    if len(exports) > 1:
        log.notes.append(
            f"{source}: {len(exports):,} files are read behind each other; line numbers count through them"
        )
    people = _people(event for _, event in log.events)
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    records: dict[str, dict[str, Any]] = {}
    unknown = 0
    for line, event in log.events:
        user = event.user or people.get(event.device, event.device)
        if not user:
            unknown += 1
            continue
        rows += [{**_interaction(item, event), "user_id": user} for item in event.items]
        lines += [line] * len(event.items)
        for item in event.items:
            _update(records, item)
    problems = pl.concat([no_problems(), *log.problems])
    if not rows and not problems.height:
        found = _counts(log.ignored) or "no event"
        raise DataError(f"{source}: no item in any event of {', '.join(EVENTS)}; found: {found}")
    for what, count in (
        ("events that an earlier file has too, left out", log.repeated),
        ("left out, nobody to be named by user_id or device", unknown),
    ):
        log.notes += [f"{source}: {what}: {counted(count, 'event')}"] if count else []
    log.notes += [f"{source}: events left out: {_counts(log.ignored)}"] if log.ignored else []
    log.notes += (
        [f"{source}: {counted(len(people), 'device')} counted as the one user who signed in there"] if people else []
    )
    table = tabulate(Parsed(log.file, rows, lines, problems, tuple(log.notes)), ids=_ids)
    return Tables(table.with_frame(_without_empty(table.frame)), _items(log.file, records), partial=("items",))


class _Log:
    """Events of one file after the other.

    Attributes:
        file: how messages call them.
        events: line, counted through all files, and event.
        problems: lines that hold none.
        ignored: events of no interest, by name.
        repeated: events that an earlier file has too: a day's table repeats those of the intraday table.
        notes: what was assumed.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.events: list[tuple[int, _Event]] = []
        self.problems: list[pl.DataFrame] = []
        self.ignored: Counter[str] = Counter()
        self.repeated = 0
        self.notes: list[str] = []
        self._seen: set[bytes] = set()
        self._lines = 0

    def read(self, path: Path) -> None:
        """Take in the events of a file."""
        parsed = parse_json_lines(path, keep=lambda row: list(_events(row, self.ignored)))
        signs: set[bytes] = set()
        broken: dict[int, str] = {}
        for line, row in zip(parsed.numbers, parsed.rows, strict=True):
            for event in row:
                if not isinstance(event.items, list) or not all(isinstance(item, dict) for item in event.items):
                    broken[line] = str(event.items)
                    continue
                sign = _sign(event)
                if sign in self._seen:
                    self.repeated += 1
                    continue
                signs |= set() if sign is None else {sign}
                self.events.append((self._lines + line, event))
        self._seen |= signs
        hint = "items is a list of objects with item_id, item_name and more"
        found = row_problems(list(broken), list(broken.values()), file=parsed.file, rule="bad-items", hint=hint)
        self.problems += [self._through(one, path) for one in (parsed.problems, found)]
        self.notes += parsed.notes
        self._lines += max([*parsed.numbers[-1:], *parsed.problems["line"]], default=0)

    def _through(self, problems: pl.DataFrame, path: Path) -> pl.DataFrame:
        """Number the lines of problems through all files; the hint says where that is."""
        if self.file == str(path):
            return problems
        place = pl.format("{} ({}:{})", "hint", pl.lit(path.name), "line")
        return problems.with_columns(pl.lit(self.file).alias("file"), place.alias("hint"), pl.col("line") + self._lines)


def _sign(event: _Event) -> bytes | None:
    """Return what only the same event has; None where it does not say when it happened."""
    if event.columns["timestamp"] is None:
        return None
    return hashlib.blake2b(repr(event).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _is_export(path: Path) -> bool:
    return any(_is_event(row) for row in first_objects(path))


def _ids(names: list[str]) -> list[str]:
    return [name for name in ("user_id", "item_id") if name in names]


def _is_event(row: dict[str, Any]) -> bool:
    if isinstance(row.get("event_name"), str) and "item_id" not in row:
        return any(name in row for name in ("event_params", "items", "user_pseudo_id", "params"))
    if isinstance(row.get("events"), list) and ("client_id" in row or "app_instance_id" in row):
        return True
    ecommerce = row.get("ecommerce")
    return isinstance(row.get("event"), str) and isinstance(ecommerce, dict) and "items" in ecommerce


def _events(row: dict[str, Any], ignored: Counter[str]) -> Iterator[_Event]:
    """Yield the events of a line that are kept."""
    parts = row.get("events") if "event_name" not in row else None
    for part in parts if isinstance(parts, list) else [row]:
        if not isinstance(part, dict):
            continue
        name = next((part[key] for key in ("event_name", "event", "name") if isinstance(part.get(key), str)), "")
        if name not in EVENTS:
            ignored[name] += 1
            continue
        places = [part, *(place for key in ("ecommerce", "params") if isinstance(place := part.get(key), dict))]
        items: Any = next((place["items"] for place in places if place.get("items") is not None), [])
        if items == []:
            ignored[f"{name} without items"] += 1
            continue
        sources = [*places, _params(part.get("event_params")), *([] if part is row else [row])]
        columns = {
            "timestamp": _first(sources, TIMES),
            "session_id": _first(sources, SESSIONS),
            "transaction_id": _first(sources, ("transaction_id",)),
            "currency": _first(sources, ("currency",)),
        }
        yield _Event(name, _first(sources, USERS), _first(sources, DEVICES), columns, items)


def _params(params: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON value
    """Return the parameters that are used, in the export a list of {"key", "value": {"string_value", ...}}."""
    if not isinstance(params, list):
        return params if isinstance(params, dict) else {}
    found = {}
    for one in params:
        if isinstance(one, dict) and one.get("key") in PARAMETERS and isinstance(one.get("value"), dict):
            found[one["key"]] = next((inner for inner in one["value"].values() if inner is not None), None)
    return found


def _first(places: Iterable[dict[str, Any]], names: tuple[str, ...]) -> Any:  # noqa: ANN401  # any JSON value
    """Return the first of some values that is set."""
    for place in places:
        for name in names:
            value = place.get(name)
            if value is not None and _is_set(value):
                return value
    return None


def _is_set(value: Any) -> bool:  # noqa: ANN401  # any JSON value
    return value is not None and not (isinstance(value, str) and value.strip() in NOT_SET)


def _people(events: Iterable[_Event]) -> dict[Any, Any]:
    """Return device -> user for the devices on which exactly one user signed in."""
    seen: dict[Any, set[Any]] = {}
    for event in events:
        if isinstance(event.user, str | int) and isinstance(event.device, str | int):
            seen.setdefault(event.device, set()).add(event.user)
    return {device: next(iter(users)) for device, users in seen.items() if len(users) == 1}


def _interaction(item: dict[str, Any], event: _Event) -> dict[str, Any]:
    item_id = item.get("item_id")
    columns = {**event.columns, "currency": event.columns["currency"] or item.get("currency")}
    return {
        "item_id": item_id if _is_set(item_id) else None,
        "event_type": event.name,
        **columns,
        "price": _number(item.get("price")),
        "quantity": _number(item.get("quantity")),
    }


def _update(records: dict[str, dict[str, Any]], item: dict[str, Any]) -> None:
    """Write what a line says of a product over what earlier ones said."""
    item_id = item.get("item_id")
    if not isinstance(item_id, str | int) or isinstance(item_id, bool) or not _is_set(item_id):
        return
    path = [item[name] for name in CATEGORIES if _is_set(item.get(name)) and isinstance(item[name], str)]
    said = {
        **{name: item.get(f"item_{source}") for name, source in (("title", "name"), ("brand", "brand"))},
        "categories": path or None,
        "price": item.get("price"),
    }
    record = records.setdefault(str(item_id), {"item_id": str(item_id)})
    kinds: dict[str, tuple[type, ...]] = {"categories": (list,), "price": (int, float, str)}
    record.update({name: v for name, v in said.items() if _is_set(v) and isinstance(v, kinds.get(name, (str,)))})


def _without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop the columns that hold nothing, times among them: the order of the rows counts then."""
    return frame.drop(name for name in frame.columns if name not in ("user_id", "item_id") and not frame[name].count())


def _items(file: str, records: dict[str, dict[str, Any]]) -> Table | None:
    """Return what the last lines say of each product; a row number stands for the line, which is not one."""
    if not records:
        return None
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "item_id": pl.String,
        "title": pl.String,
        "brand": pl.String,
        "categories": pl.List(pl.String),
    }
    rows = list(records.values())
    frame = pl.DataFrame(
        {name: pl.Series([row.get(name) for row in rows], dtype=kind) for name, kind in schema.items()}
    )
    amounts = [_number(row.get("price")) for row in rows]
    prices = pl.Series(
        "price", [None if isinstance(one, str) else one for one in amounts], dtype=pl.Float64, strict=False
    )
    frame = _without_empty(frame.with_columns(prices))
    return Table(f"{file} (products)", frame, pl.int_range(1, frame.height + 1, eager=True))


def _number(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Return a number that is written as text, as in the export, as a number; anything else as it is."""
    if not _is_set(value) or not isinstance(value, str):
        return value if _is_set(value) else None
    try:
        return float(value)
    except ValueError:
        return value


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name or 'without a name'} {count:,}" for name, count in counts.most_common(12))
