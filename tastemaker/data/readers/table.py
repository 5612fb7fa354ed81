"""The rows of one file, and the tables of a source: columns as they stand there, and the line of each row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.checks.problems import no_problems, problem_table
from tastemaker.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
DATETIME_TEXT = "%Y-%m-%dT%H:%M:%S%.f"  # how text files keep a Datetime


@dataclass(frozen=True)
class Table:
    """The rows of one file that could be parsed.

    Attributes:
        file: its path, for messages.
        frame: one row each; text files give strings.
        lines: where each row of `frame` starts: 1-based line, or row number for parquet.
        problems: rows that could not be parsed and are not in `frame`.
        notes: what was assumed on the way.
    """

    file: str
    frame: pl.DataFrame
    lines: pl.Series
    problems: pl.DataFrame = field(default_factory=no_problems)
    notes: tuple[str, ...] = ()

    def with_frame(self, frame: pl.DataFrame, *notes: str) -> Table:
        """Return the same rows with other columns, and further notes."""
        return replace(self, frame=frame, notes=self.notes + notes)

    def filter(self, keep: pl.Series) -> Table:
        """Return the rows where `keep` is true."""
        return replace(self, frame=self.frame.filter(keep), lines=self.lines.filter(keep))

    def with_problems(self, *problems: pl.DataFrame) -> Table:
        """Return the same rows with further problems."""
        return replace(self, problems=pl.concat([self.problems, *problems]))


@dataclass(frozen=True)
class Tables:
    """What a source holds, under canonical column names, not yet checked.

    Attributes:
        interactions: user_id, item_id, and optionally position, timestamp, value and others; None for a source that
            holds products only.
        items: item_id and describing columns, or None where the source describes no items.
        users: user_id and describing columns, or None.
        partial: which of "items" and "users" are known to lack some; ids without a record are then no problem.
        notes: what was assumed about the source as a whole.
        aliases: other ids under which orders may name the products: columns alias, item_id and kind (in words).
    """

    interactions: Table | None
    items: Table | None = None
    users: Table | None = None
    partial: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    aliases: pl.DataFrame | None = None


def table_suffix(path: Path) -> str:
    """Return the suffix that tells a table's notation, without `.gz`; empty if it is none of `SUFFIXES`."""
    name = path.name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    return suffix if suffix in SUFFIXES and (suffix != ".parquet" or not name.endswith(".gz")) else ""


def read_parquet(path: Path) -> Table:
    """Read a parquet file; lines are 1-based row numbers.

    Raises:
        DataError: no such file, not parquet, or no rows.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not a parquet file that can be read ({error}); write it again") from error
    if frame.is_empty():
        raise DataError(f"{path}: the file has no rows")
    return Table(str(path), frame, pl.int_range(1, frame.height + 1, eager=True))


def rename_columns(table: Table, names: Mapping[str, str]) -> Table:
    """Give columns other names.

    Raises:
        DataError: a column is missing, or two would have the same name.
    """
    columns = table.frame.columns
    for old in names:
        if old not in columns:
            raise no_column(table, old)
    new = [names.get(column, column) for column in columns]
    twice = next((name for name in new if new.count(name) > 1), None)
    if twice is not None:
        both = " and ".join(f"'{old}'" for old, name in zip(columns, new, strict=True) if name == twice)
        raise DataError(f"{table.file}: {both} both mean '{twice}'; rename or remove one of them")
    return table.with_frame(table.frame.rename(dict(names)))


def no_column(table: Table, header: str, *, names: Mapping[str, str] | None = None) -> DataError:
    """Return the error that a table has no such column.

    Args:
        table: where it was looked for.
        header: the column, as the caller names it.
        names: header in the file -> the name that its column has now, where that is another.
    """
    headers = {now: before for before, now in (names or {}).items()}
    found = [headers.get(column, column) for column in table.frame.columns]
    known = [*found, *table.frame.columns]
    meant = did_you_mean(header, known) if get_close_matches(header, known, n=1) else ""
    return DataError(f"{table.file}: no column '{header}'{meant}; found: {', '.join(found)}")


def cast_columns(table: Table, schema: Mapping[str, pl.DataType], *, source: str) -> Table:
    """Give columns the types that `source` states; a value that does not fit is a problem."""
    for column, dtype in schema.items():
        old = table.frame.get_column(column, default=None)
        if old is None or old.dtype == dtype:
            continue
        new = _cast(old, dtype)
        wrong = new.is_null() & old.is_not_null()
        hint = f"{source} says that the column holds {dtype}"
        problems = problem_table(
            table.lines.filter(wrong), old.filter(wrong), file=table.file, column=column, rule="wrong-type", hint=hint
        )
        table = table.with_problems(problems).with_frame(table.frame.with_columns(new))
    return table


def _cast(old: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast, null where a value does not fit."""
    if dtype == pl.Null:
        return pl.Series(old.name, [None] * len(old), dtype=pl.Null)
    if old.dtype == pl.String and dtype == pl.Boolean:
        return old.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    if old.dtype == pl.String and dtype == pl.Date:
        return old.str.to_date("%Y-%m-%d", strict=False)
    if old.dtype == pl.String and isinstance(dtype, pl.Datetime):
        moments = old.str.to_datetime(DATETIME_TEXT, time_unit=dtype.time_unit, strict=False)
        return moments.dt.replace_time_zone(dtype.time_zone)
    try:
        return old.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:  # no cast between the two types at all
        return pl.Series(old.name, [None] * len(old), dtype=dtype)


def broken_lines(broken: dict[int, str], file: str) -> pl.DataFrame:
    """Return the problems of the lines that could not be decoded."""
    hint = "these bytes are not UTF-8 like the rest of the file; save the whole file as UTF-8"
    return row_problems(list(broken), list(broken.values()), file=file, rule="broken-encoding", hint=hint)


def row_problems(lines: Iterable[int], values: list[str], *, file: str, rule: str, hint: str) -> pl.DataFrame:
    """Return problems of whole rows."""
    line, value = pl.Series(list(lines), dtype=pl.Int64), pl.Series(values, dtype=pl.String)
    return problem_table(line, value, file=file, rule=rule, hint=hint)
