"""The rules that shop data must keep, and the check that finds every row that breaks one.

Each rule is one vectorised expression over a column. A cell reports the first rule that it breaks. Rows are never
mended: they are good, or they are reported and left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from tastemaker.characters import BIDI_PATTERN, CONTROL, CONTROL_PATTERN, INVISIBLE_PATTERN
from tastemaker.data.problems import Report, problem_table
from tastemaker.data.timestamps import to_seconds
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tastemaker.data.readers.table import Table, Tables

ID_BYTES = 256
TEXT_LENGTH = 100_000  # description and any other text
LENGTHS = {"title": 1_000, "brand": 1_000, "categories": 5_000}
LATEST = 4_102_444_799  # the last second of 2099
LARGEST = float(np.finfo(np.float32).max)
TEXTS = ("title", "brand", "description", "event_type", "split")
SECONDS = "\0seconds"  # the parsed timestamps, beside the column as it was written


@dataclass(frozen=True, slots=True)
class Rule:
    """A short name, the cure, and the expression that is true for a bad cell of a column."""

    name: str
    hint: str
    bad: Callable[[pl.Expr], pl.Expr]


class Checked(NamedTuple):
    """Good rows only, under canonical types, and the report."""

    interactions: pl.DataFrame
    items: pl.DataFrame | None
    users: pl.DataFrame | None
    report: Report


def as_number(column: pl.Expr) -> pl.Expr:
    """Parse numbers, null where that is not possible."""
    return column.cast(pl.Float64, strict=False)


def is_blank(column: pl.Expr) -> pl.Expr:
    """Whether a cell holds nothing."""
    return column.is_null() | (column.cast(pl.String) == "")


NUL = Rule("nul-byte", "remove the NUL character", lambda c: c.str.contains("\0", literal=True))
CONTROLS = Rule("control-character", "remove the control characters", lambda c: c.str.contains(CONTROL_PATTERN))
BIDI = Rule(
    "bidi-character", "remove characters that change the reading direction", lambda c: c.str.contains(BIDI_PATTERN)
)
NOT_CATEGORIES = Rule(
    "nested-categories", 'separate names with "|", or give a list of strings in jsonl', lambda c: c.str.starts_with("[")
)
ID_RULES = (
    Rule("empty-id", "every row needs an id", lambda c: c.is_null() | (c.str.strip_chars() == "")),
    Rule("id-too-long", f"an id has at most {ID_BYTES} bytes", lambda c: c.str.len_bytes() > ID_BYTES),
    NUL,
    Rule(
        "control-character",
        "an id is one line without control characters",
        lambda c: c.str.contains(f"[{CONTROL}\t\n\r]"),
    ),
    BIDI,
    Rule("invisible-character", "remove characters that nobody can see", lambda c: c.str.contains(INVISIBLE_PATTERN)),
)
DUPLICATE = Rule(
    "duplicate-id", "the first row of an id counts; merge or remove the others", lambda c: ~c.is_first_distinct()
)
NUMBER_RULES = (
    Rule("not-a-number", "write a plain number such as 12.5", lambda c: ~is_blank(c) & as_number(c).is_null()),
    Rule("not-finite", "NaN and infinity are no amounts; leave the field empty", lambda c: ~as_number(c).is_finite()),
    Rule("negative", "shift the scale, or leave returns and corrections out", lambda c: as_number(c) < 0),
    Rule("too-large", f"the largest number is {LARGEST:.3g}", lambda c: as_number(c) > LARGEST),
)
POSITION_RULES = (
    Rule("empty-position", "fill every position or remove the column", is_blank),
    Rule(
        "not-a-position",
        "number each user's interactions with whole numbers from 0, oldest first",
        lambda c: ~(as_number(c).is_between(0, 2**53) & (as_number(c) % 1 == 0)).fill_null(value=False),
    ),
)
TIMESTAMP_RULES = (
    Rule("bad-timestamp", "write unix seconds or ISO 8601", lambda c: ~is_blank(c) & pl.col(SECONDS).is_null()),
    Rule(
        "timestamp-out-of-range",
        "times lie between 1970 and 2100",
        lambda c: ~pl.col(SECONDS).is_between(0, LATEST),
    ),
)
MISSING_TIMESTAMP = Rule(
    "missing-timestamp", "fill it in, or give the order in a column 'position'", lambda c: pl.col(SECONDS).is_null()
)


def text_rules(column: str) -> tuple[Rule, ...]:
    """Return the rules of a text column; its length limit goes by its name."""
    limit = LENGTHS.get(column, TEXT_LENGTH)
    too_long = Rule("text-too-long", f"at most {limit:,} characters; shorten it", lambda c: c.str.len_chars() > limit)
    rules = (too_long, NUL, CONTROLS, BIDI)
    return (*rules, NOT_CATEGORIES) if column == "categories" else rules


def check(tables: Tables, *, source: str, format: str) -> Checked:
    """Apply every rule to every row.

    Args:
        tables: what a reader found.
        source: name of the source, for the report.
        format: name of the format, for the report.

    Raises:
        DataError: a needed column is missing or has an impossible type.
    """
    notes = list(tables.notes)
    records = {"item": tables.items, "user": tables.users}
    entities = {
        kind: _apply(_typed(table, (f"{kind}_id",), notes), {f"{kind}_id": (*ID_RULES, DUPLICATE)})
        for kind, table in records.items()
        if table is not None
    }
    partial = [name.removesuffix("s") for name in tables.partial]
    complete = {kind: table for kind, table in entities.items() if kind not in partial}
    log = _typed(tables.interactions, ("user_id", "item_id"), notes)
    log = _apply(log, _log_rules(log, complete))
    checked = {"interactions": log, **{f"{kind}s": table for kind, table in entities.items()}}
    rows = {name: table.frame.height + _unparsed(table) for name, table in checked.items()}
    good = _finish_log(_good(log), notes)
    kept = {}
    for kind, table in entities.items():
        kept[f"{kind}s"] = _good(table)
        good = _without_orphans(good, kind, table, kept[f"{kind}s"], notes)
    left_out = {"interactions": rows["interactions"] - good.height}
    left_out |= {name: rows[name] - frame.height for name, frame in kept.items()}
    for kind in partial:
        kept[f"{kind}s"] = _with_unrecorded(kept[f"{kind}s"], good, kind, notes)
    found = pl.concat([table.problems for table in checked.values()])
    report = Report(
        source=source,
        format=format,
        files=tuple(table.file for table in checked.values()),
        rows=rows,
        left_out=left_out,
        found=found.sort("file", "line", maintain_order=True),
        notes=tuple(dict.fromkeys([note for table in checked.values() for note in table.notes] + notes)),
    )
    return Checked(good, kept.get("items"), kept.get("users"), report)


def _log_rules(log: Table, entities: dict[str, Table]) -> dict[str, tuple[Rule, ...]]:
    """Return the rules of the interactions' id and time columns."""
    rules: dict[str, tuple[Rule, ...]] = {"user_id": ID_RULES, "item_id": ID_RULES}
    for kind, table in entities.items():
        rules[f"{kind}_id"] = (*ID_RULES, _unknown(kind, table))
    if "position" in log.frame.columns:
        rules["position"] = POSITION_RULES
    if SECONDS in log.frame.columns:
        some_missing = log.frame["timestamp"].null_count() < log.frame.height and "position" not in log.frame.columns
        rules["timestamp"] = (*TIMESTAMP_RULES, *([MISSING_TIMESTAMP] if some_missing else []))
    return rules


def _unknown(kind: str, table: Table) -> Rule:
    known = table.frame[f"{kind}_id"].implode()
    return Rule(f"unknown-{kind}", f"add it to {table.file}, or leave the row out", lambda c: ~c.is_in(known))


def _typed(table: Table, keys: Iterable[str], notes: list[str]) -> Table:
    """Give id, text and category columns their types, and parse timestamps.

    Raises:
        DataError: a key is missing, or ids are of a type that has no exact text.
    """
    frame = table.frame
    for key in keys:
        if key not in frame.columns:
            close = get_close_matches(key, frame.columns, n=1)
            guess = f"; did you mean '{close[0]}'? rename it" if close else "; is there a header line?"
            raise DataError(f"{table.file}: no column '{key}'{guess}; found: {', '.join(frame.columns)}")
        dtype = frame.schema[key]
        if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
            raise DataError(f"{table.file}: column '{key}' holds {dtype}; ids must be text or whole numbers")
    frame = frame.with_columns(pl.col(column).cast(pl.String) for column in (*keys, *TEXTS) if column in frame.columns)
    if frame.schema.get("categories") == pl.String:
        frame = frame.with_columns(categories=parse_categories(pl.col("categories")))
    elif "categories" in frame.columns and frame.schema["categories"] != pl.List(pl.String):
        if frame.schema["categories"] not in (pl.Null, pl.List(pl.Null)):
            dtype = frame.schema["categories"]
            raise DataError(f"{table.file}: column 'categories' holds {dtype}; give a list of names to each item")
        frame = frame.with_columns(pl.col("categories").cast(pl.List(pl.String)))
    if "timestamp" in frame.columns and "user_id" in keys and "item_id" in keys:
        times, unit = to_seconds(frame["timestamp"])
        frame = frame.with_columns(times.alias(SECONDS))
        if times.count():
            notes.append(f"{table.file}: timestamps are {unit}")
    return table.with_frame(frame)


def parse_categories(column: pl.Expr) -> pl.Expr:
    """Split "a|b" or "a > b" into a list of names without blanks around them."""
    parts = (
        pl.when(column.str.contains("|", literal=True)).then(column.str.split("|")).otherwise(column.str.split(" > "))
    )
    return parts.list.eval(pl.element().str.strip_chars()).list.eval(pl.element().filter(pl.element() != ""))


def _apply(table: Table, rules: dict[str, tuple[Rule, ...]]) -> Table:
    """Add the problems of `rules`, and of the number and text rules for the columns that have none."""
    frame = table.frame
    for column, dtype in frame.schema.items():
        if column in rules:
            continue
        if column in ("value", "price"):
            rules[column] = NUMBER_RULES
        elif dtype in (pl.String, pl.List(pl.String)) and column != "timestamp":
            rules[column] = text_rules(column)
    broken = frame.select(_first_broken(column, frame.schema[column], rules[column]) for column in rules)
    problems = []
    for column in broken.columns:
        for number in broken[column].drop_nulls().unique().sort():
            rule, rows = rules[column][number], (broken[column] == number).fill_null(value=False)
            lines, values = table.lines.filter(rows), frame[column].filter(rows)
            problems.append(
                problem_table(lines, values, file=table.file, column=column, rule=rule.name, hint=rule.hint)
            )
    return table.with_problems(*problems)


def _first_broken(column: str, dtype: pl.DataType, rules: tuple[Rule, ...]) -> pl.Expr:
    """Number of the first rule that a cell breaks, null for a good cell."""
    cell = pl.col(column).list.join("\n") if dtype == pl.List(pl.String) else pl.col(column)
    number = pl.lit(None, dtype=pl.Int8)
    for place, rule in reversed(list(enumerate(rules))):
        number = pl.when(rule.bad(cell)).then(pl.lit(place, dtype=pl.Int8)).otherwise(number)
    return number.alias(column)


def _good(table: Table) -> pl.DataFrame:
    """Return the rows without a problem, numbers parsed."""
    frame = table.frame
    if table.problems.height:
        frame = frame.filter(~table.lines.is_in(table.problems["line"].unique().implode()))
    numbers = [as_number(pl.col(name)) for name in ("value", "price") if name in frame.columns]
    return frame.with_columns(numbers)


def _unparsed(table: Table) -> int:
    """Count the rows that never made it into the frame."""
    return int((~table.problems["line"].unique().is_in(table.lines.implode())).sum())


def _without_orphans(log: pl.DataFrame, kind: str, table: Table, kept: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Leave out the interactions whose item or user is in a row that is left out."""
    key = f"{kind}_id"
    lost = table.frame.select(key).join(kept.select(key), on=key, how="anti")
    good = log.join(lost, on=key, how="anti", maintain_order="left")
    if good.height < log.height:
        count = log.height - good.height
        notes.append(f"{count:,} good interactions are left out because their {kind} is in a bad row of {table.file}")
    return good


def _with_unrecorded(records: pl.DataFrame, log: pl.DataFrame, kind: str, notes: list[str]) -> pl.DataFrame:
    """Append the items or users of the log that have no record of their own."""
    key = f"{kind}_id"
    missing = log.select(key).unique(maintain_order=True).join(records, on=key, how="anti", maintain_order="left")
    if missing.height:
        count = log.join(missing, on=key, how="semi").height
        notes.append(f"{missing.height:,} {kind}s with {count:,} interactions have no record, only an id")
    return pl.concat([records, missing], how="diagonal")


def _finish_log(log: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Put parsed times and positions in place, and say what is missing or repeated."""
    if SECONDS in log.columns:
        log = log.with_columns(pl.col(SECONDS).alias("timestamp")).drop(SECONDS)
        times = log["timestamp"]
        if times.count():
            first, last = (pl.from_epoch(pl.Series([time]), "s").dt.date()[0] for time in (times.min(), times.max()))
            notes.append(f"interactions from {first} to {last}")
        if times.null_count():
            notes.append(f"{times.null_count():,} of {log.height:,} interactions have no timestamp")
    if "position" in log.columns:
        log = log.with_columns(as_number(pl.col("position")).cast(pl.Int64))
    if "value" in log.columns and log["value"].null_count():
        notes.append(f"{log['value'].null_count():,} of {log.height:,} interactions have no value")
    same = [name for name in ("user_id", "item_id", "timestamp") if name in log.columns]
    repeats = log.height - log.select(pl.struct(same).n_unique()).item() if len(same) == 3 and log.height else 0
    if repeats:
        notes.append(f"{repeats:,} interactions repeat another one of the same user, item and time; they are kept")
    return log
