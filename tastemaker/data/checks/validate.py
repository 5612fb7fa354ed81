"""The check that finds every row that breaks a rule.

A cell reports the first rule that it breaks. Rows are never mended: they are good, or they are reported and left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tastemaker.data.checks.columns import AMOUNT, KINDS, typed, with_keys
from tastemaker.data.checks.problems import Report, counted, problem_table
from tastemaker.data.checks.rules import (
    DUPLICATE,
    ID_RULES,
    MISSING_TIMESTAMP,
    NO_SHOPPER,
    NOT_CATEGORIES,
    NUMBER_RULES,
    ORDINARY_PATTERN,
    OTHER_UNIT,
    POSITION_RULES,
    SECONDS,
    TIMESTAMP_RULES,
    Rule,
    as_number,
    as_text,
    first_broken,
    is_blank,
    text_rules,
)
from tastemaker.data.dataset import RESERVED, free_names

if TYPE_CHECKING:
    from tastemaker.data.readers.table import Table, Tables

GUESTS = (
    *("null", "none", "nan", "n/a", "na", "\\n", "-", "0", "guest", "gast", "anonymous", "anonym", "unknown"),
    *("unbekannt", "undefined"),
)
"""Ids, in lower case, that exports give to those who have none."""
GUEST_BYTES = max(map(len, GUESTS))
GUEST_LEAST = 20
GUEST_TIMES = 5
"""Interactions that such an id has at least, in all and as many times the mean of all users, before it is named."""
ROUNDED = r"^\d([.,]\d+)?E\+\d+$"
YEAR = 365 * 24 * 60 * 60


class Checked(NamedTuple):
    """Good rows only, under canonical types, and the report; no interactions where the source holds products only."""

    interactions: pl.DataFrame | None
    items: pl.DataFrame | None
    users: pl.DataFrame | None
    report: Report


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
    entities = {kind: _checked_entities(table, kind) for kind, table in records.items() if table is not None}
    partial = [kind for kind in entities if f"{kind}s" in tables.partial]
    complete = {kind: table for kind, table in entities.items() if kind not in partial}
    checked = {f"{kind}s": table for kind, table in entities.items()}
    if tables.interactions is not None:
        log = typed(_with_free_names(tables.interactions, "interactions"), "interactions")
        checked = {"interactions": _apply(log, "interactions", _log_rules(log, complete)), **checked}
    rows = {name: table.frame.height + _unparsed(table) for name, table in checked.items()}
    kept = {f"{kind}s": _good(table, f"{kind}s") for kind, table in entities.items()}
    left_out = {name: rows[name] - frame.height for name, frame in kept.items()}
    good = None
    if "interactions" in checked:
        good = _finish_log(_good(checked["interactions"], "interactions"), notes)
        for (
            kind,
            table,
        ) in complete.items():  # where records may be missing, one that is left out is missing, and no more
            good = _without_orphans(good, kind, table, kept[f"{kind}s"], notes)
        left_out = {"interactions": rows["interactions"] - good.height, **left_out}
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


def _with_free_names(table: Table, role: str) -> Table:
    """Rename columns whose names a data set keeps for itself; missing keys are told before, by the file's own names."""
    table = with_keys(table, role)
    taken = free_names(table.frame.columns, RESERVED[role])
    notes = (
        f"{table.file}: column '{old}' is called '{new}', because '{old}' has a meaning of its own"
        for old, new in taken.items()
    )
    return table.with_frame(table.frame.rename(taken), *notes)


def _checked_entities(table: Table, kind: str) -> Table:
    """Give items or users their types, and find their problems."""
    rules: dict[str, tuple[Rule, ...]] = {f"{kind}_id": (*ID_RULES, DUPLICATE)}
    if table.frame.schema.get("categories") == pl.String:
        rules["categories"] = (*text_rules("categories"), NOT_CATEGORIES)
    return _apply(typed(_with_free_names(table, f"{kind}s"), f"{kind}s"), f"{kind}s", rules)


def _log_rules(log: Table, entities: dict[str, Table]) -> dict[str, tuple[Rule, ...]]:
    """Return the rules of the interactions' id and time columns."""
    rules: dict[str, tuple[Rule, ...]] = {"user_id": (NO_SHOPPER, *ID_RULES[1:]), "item_id": ID_RULES}
    for kind, table in entities.items():
        rules[f"{kind}_id"] = (*rules[f"{kind}_id"], _unknown(kind, table))
    if "position" in log.frame.columns:
        rules["position"] = POSITION_RULES
    if SECONDS in log.frame.columns:
        filled = not log.frame.select(is_blank(pl.col("timestamp")).all()).item()
        some_missing = filled and "position" not in log.frame.columns
        rules["timestamp"] = (*TIMESTAMP_RULES, *([MISSING_TIMESTAMP] if some_missing else []))
    return rules


def _unknown(kind: str, table: Table) -> Rule:
    known = table.frame[f"{kind}_id"].implode()
    return Rule(f"unknown-{kind}", f"add it to {table.file}, or leave the row out", lambda c: ~c.is_in(known))


def _apply(table: Table, role: str, rules: dict[str, tuple[Rule, ...]]) -> Table:
    """Add the problems of `rules`, and of the number and text rules for the columns that have none."""
    frame = table.frame
    for column, dtype in frame.schema.items():
        if column in rules:
            continue
        if KINDS[role].get(column) is AMOUNT:
            rules[column] = NUMBER_RULES[role]
        elif dtype in (pl.String, pl.List(pl.String)):
            rules[column] = text_rules(column)
    broken = frame.select(first_broken(column, frame.schema[column], rules[column]) for column in rules)
    problems = []
    for column in broken.columns:
        for number in broken[column].drop_nulls().unique().sort():
            rule, rows = rules[column][number], (broken[column] == number).fill_null(value=False)
            lines, values = table.lines.filter(rows), frame[column].filter(rows)
            problems.append(
                problem_table(lines, values, file=table.file, column=column, rule=rule.name, hint=rule.hint)
            )
    return table.with_problems(*problems).with_frame(frame, *_ordinary_marks(table), *_odd_ids(table))


def _ordinary_marks(table: Table) -> list[str]:
    """Count the texts with characters that are no problem and that a reader would like to know about."""
    texts = {
        name: as_text(name, dtype).str.contains(ORDINARY_PATTERN).sum()
        for name, dtype in table.frame.schema.items()
        if dtype in (pl.String, pl.List(pl.String)) and name not in ("user_id", "item_id")
    }
    counts = table.frame.select(**texts).row(0) if texts else ()
    return [
        f"{table.file}: column '{name}': {counted(count, 'text')} with direction marks or C1 controls; kept as written"
        for name, count in zip(texts, counts, strict=True)
        if count
    ]


def _odd_ids(table: Table) -> list[str]:
    """Count the ids that an export has probably changed."""
    notes = []
    for name in ("user_id", "item_id"):
        if table.frame.schema.get(name) != pl.String:
            continue
        ids = table.frame[name]
        blanks = int((ids.str.starts_with(" ") | ids.str.ends_with(" ")).sum())
        if blanks:
            words = "begin or end with a blank; kept as written, so 'a ' is not 'a'"
            notes.append(f"{table.file}: column '{name}': {counted(blanks, 'id')} {words}")
        rounded = int(ids.filter(ids.str.contains("E+", literal=True)).str.contains(ROUNDED).sum())
        if rounded:
            words = "look like long numbers that a spreadsheet has rounded; export the column as text"
            notes.append(f"{table.file}: column '{name}': {counted(rounded, 'id')} {words}")
    return notes


def _good(table: Table, role: str) -> pl.DataFrame:
    """Return the rows without a problem, numbers parsed."""
    frame = table.frame
    if table.problems.height:
        frame = frame.filter(~table.lines.is_in(table.problems["line"].unique().implode()))
    numbers = [as_number(pl.col(name)) for name in frame.columns if KINDS[role].get(name) is AMOUNT]
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
        notes.append(f"{counted(count, 'good interaction')} left out: the {kind} is in a bad row of {table.file}")
    return good


def _with_unrecorded(records: pl.DataFrame, log: pl.DataFrame, kind: str, notes: list[str]) -> pl.DataFrame:
    """Append the items or users of the log that have no record of their own."""
    key = f"{kind}_id"
    missing = log.select(key).unique(maintain_order=True).join(records, on=key, how="anti", maintain_order="left")
    if missing.height:
        count = log.join(missing, on=key, how="semi").height
        notes.append(f"only an id, no record: {counted(missing.height, kind)} with {counted(count, 'interaction')}")
    return pl.concat([records, missing], how="diagonal")


def _finish_log(log: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Put parsed times and positions in place, and say what is missing, odd or repeated."""
    if "position" in log.columns:
        log = log.with_columns(as_number(pl.col("position")).cast(pl.Int64))
    if SECONDS in log.columns:
        log = log.with_columns(pl.col(SECONDS).alias("timestamp")).drop(SECONDS, OTHER_UNIT)
        notes += _time_notes(log)
    if "value" in log.columns and log["value"].null_count():
        notes.append(f"no value: {log['value'].null_count():,} of {counted(log.height, 'interaction')}")
    same = [name for name in ("user_id", "item_id", "timestamp", "event_type") if name in log.columns]
    # Rows whose hashes all differ differ; only where two are alike, the slower exact count tells.
    if "timestamp" in same and log.height and log.select(same).hash_rows().n_unique() < log.height:
        repeats = log.height - log.select(pl.struct(same).n_unique()).item()
    else:
        repeats = 0
    notes += _guest_notes(log)
    if repeats:
        words = f"{counted(repeats, 'interaction')}; kept (tastemaker data convert --once keeps the first)"
        what = "user, item, event_type and time" if "event_type" in same else "user, item and time"
        notes.append(f"same {what} as another: {words}")
    return log


def _guest_notes(log: pl.DataFrame) -> list[str]:
    """Name the users who look like everybody without an account."""
    if not log.height:
        return []
    counts = log.group_by("user_id").len("count")
    words = counts.filter(pl.col("user_id").str.len_bytes() <= GUEST_BYTES)
    words = words.filter(pl.col("user_id").str.to_lowercase().is_in(GUESTS))
    most, least = counts["count"].max(), max(GUEST_LEAST, GUEST_TIMES * log.height / counts.height)
    return [
        f"user {user!r} has {count:,} of {counted(log.height, 'interaction')}: everybody without an account is no "
        "shopper; tastemaker data convert leaves them out with --without HEADER=" + user
        for user, count in words.sort("count", "user_id", descending=[True, False]).iter_rows()
        if count >= least and (user != "0" or count == most)
    ]


def _time_notes(log: pl.DataFrame) -> list[str]:
    """Say from when to when the log goes, and what about its times looks wrong."""
    notes = []
    times = log["timestamp"]
    if times.count():
        first, last = (pl.from_epoch(pl.Series([time]), "s").dt.date()[0] for time in (times.min(), times.max()))
        notes.append(f"interactions from {first} to {last}")
        if (times.drop_nulls() < YEAR).all():
            notes.append("all times are in 1970: are these really unix seconds?")
    if times.null_count():
        notes.append(f"no timestamp: {times.null_count():,} of {counted(log.height, 'interaction')}")
    if "position" in log.columns:
        earlier = pl.col("timestamp").diff().over("user_id") < 0
        dated = log.filter(times.is_not_null()).sort("user_id", "position")
        odd = dated.filter(earlier)["user_id"].n_unique()
        if odd:
            notes.append(f"positions and times disagree: {counted(odd, 'user')}; the position counts")
    return notes
