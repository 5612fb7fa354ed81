"""One file of rows, in whatever notation: columns as they stand in the file, and the line of each row."""

from __future__ import annotations

import ast
import csv
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.data.problems import no_problems, problem_table
from tastemaker.data.readers.records import bad_quotes, index_records
from tastemaker.data.readers.text import blank, decode, first_lines, read_bytes
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tastemaker.data.readers.records import Records
    from tastemaker.types import Bool

SEPARATORS = {".csv": ",", ".tsv": "\t"}
UNIT = "\x1f"  # stands in for "::", because polars separates by one byte
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


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
        interactions: user_id, item_id, and optionally position, timestamp, value and others.
        items: item_id and describing columns, or None where the source describes no items.
        users: user_id and describing columns, or None.
        partial: which of "items" and "users" are known to lack some; ids without a record are then no problem.
        notes: what was assumed about the source as a whole.
    """

    interactions: Table
    items: Table | None = None
    users: Table | None = None
    partial: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def table_suffix(path: Path) -> str:
    """Return the suffix that tells a table's notation, without `.gz`; empty if it is none of `SUFFIXES`."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    return suffix if suffix in SUFFIXES and (suffix != ".parquet" or not path.name.endswith(".gz")) else ""


def read_table(path: Path) -> Table:
    """Read a .parquet, .csv, .tsv or .jsonl file; the last three may be gzipped.

    Raises:
        DataError: another suffix, no file, no rows, or a header that cannot be used.
    """
    suffix = table_suffix(path)
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix == ".jsonl":
        return read_json_lines(path)
    if suffix:
        return read_delimited(path, separator=SEPARATORS[suffix])
    raise DataError(f"{path}: unknown kind of file; known: {', '.join(SUFFIXES)} (text also with .gz)")


def read_delimited(
    path: Path,
    *,
    separator: str,
    columns: Sequence[str] | None = None,
    quoted: bool = True,
    encoding: str | None = None,
) -> Table:
    """Read delimited text as strings; an empty field is null, a quoted empty one is an empty string.

    Args:
        path: the file.
        separator: one character, or "::".
        columns: names, where the file has no header line.
        quoted: whether fields may stand in double quotes.
        encoding: where the format states it.

    Raises:
        DataError: the file is empty, or its header repeats a name.
    """
    file = str(path)
    data = read_bytes(path)
    text = decode(data, file=file, encoding=encoding)
    del data
    data, notes = text.data, list(text.notes)
    if len(separator) > 1:
        data, separator = data.replace(separator.encode(), UNIT.encode()), UNIT
    separator = _separator(data, separator, file, notes) if columns is None and quoted else separator
    problems = [_broken_lines(text.broken, file)]
    bad = bad_quotes(data, separator) if quoted else []
    if bad:
        lines = data.split(b"\n")
        values = [lines[number].decode() for number in bad]
        hint = 'put fields that hold a quote in quotes and double the quote: "12"" vinyl"'
        problems.append(_table(np.array(bad) + 1, values, file=file, rule="bad-quote", hint=hint))
        data = blank(data, bad)
    records = index_records(data, separator, quoted=quoted)
    is_row = records.widths > 0
    if not is_row.any():
        raise DataError(f"{file}: the file is empty")
    if columns is None:
        header = int(is_row.argmax())
        unreadable = pl.concat(problems).filter(pl.col("line") <= int(records.lines[header]))
        if unreadable.height:
            raise DataError(f"{file}:{unreadable['line'][0]}: the header cannot be read; {unreadable['hint'][0]}")
        columns = _header(data[records.starts[header] : records.ends[header]], separator, quoted, file, notes)
        is_row[header] = False
    ragged = is_row & (records.widths != len(columns))
    if ragged.any():
        problems.append(_ragged(data, records, ragged, columns, file))
    if not is_row.any() and not any(problem.height for problem in problems):
        raise DataError(f"{file}: the file has a header and no rows")
    good = is_row & ~ragged
    inner = records.widths[: np.flatnonzero(is_row)[-1]] if is_row.any() else records.widths[:0]
    skipped = int((inner == 0).sum()) - len(text.broken) - len(bad)
    if skipped > 0:
        notes.append(f"{file}: {skipped:,} blank lines skipped")
    frame = _parse(records.select(data, good), separator, columns, quoted=quoted)
    if frame.height != int(good.sum()):
        raise RuntimeError(f"{file}: {frame.height} rows parsed where the index has {int(good.sum())}")
    return Table(file, frame, pl.Series(records.lines[good]), pl.concat(problems), tuple(notes))


def read_json_lines(path: Path, *, keep: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Table:
    """Read one JSON object a line (or one Python literal, as in old Amazon dumps).

    Args:
        path: the file.
        keep: turns a parsed object into the row to keep.

    Raises:
        DataError: the file is empty.
    """
    file = str(path)
    text = decode(read_bytes(path), file=file)
    parse: Callable[[str], Any] = ast.literal_eval if _is_literal(text.data) else json.loads
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.data.decode().split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse(line)
            if "\\u" in line:
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            bad.append((number, line, "broken-encoding"))
            continue
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            row = None
        if isinstance(row, dict):
            rows.append(keep(row) if keep else row)
            numbers.append(number)
        else:
            bad.append((number, line, "bad-json"))
    if not (rows or bad or text.broken):
        raise DataError(f"{file}: the file is empty")
    hints = {"bad-json": "write one JSON object a line", "broken-encoding": "an escape names half a character"}
    problems = [_broken_lines(text.broken, file)]
    for rule, hint in hints.items():
        found = [(number, line) for number, line, broken in bad if broken == rule]
        problems.append(_table([n for n, _ in found], [line for _, line in found], file=file, rule=rule, hint=hint))
    notes = list(text.notes)
    if parse is not json.loads:
        notes.append(f"{file}: Python literals instead of JSON")
    names = list(dict.fromkeys(name for row in rows for name in row))
    frame = pl.DataFrame([_column(name, [row.get(name) for row in rows], file, notes) for name in names])
    return Table(file, frame, pl.Series(numbers, dtype=pl.Int64), pl.concat(problems), tuple(notes))


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


def cast_columns(table: Table, schema: Mapping[str, pl.DataType], *, source: str) -> Table:
    """Give columns the types that `source` states; a value that does not fit is a problem."""
    for column, dtype in schema.items():
        old = table.frame.get_column(column, default=None)
        if old is None or old.dtype == dtype:
            continue
        if dtype == pl.Boolean and old.dtype == pl.String:
            new = old.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
        else:
            new = old.cast(dtype, strict=False)
        wrong = new.is_null() & old.is_not_null()
        hint = f"{source} says that the column holds {dtype}"
        problems = problem_table(
            table.lines.filter(wrong), old.filter(wrong), file=table.file, column=column, rule="wrong-type", hint=hint
        )
        table = table.with_problems(problems).with_frame(table.frame.with_columns(new))
    return table


def _separator(data: bytes, separator: str, file: str, notes: list[str]) -> str:
    """Return the separator that the header line uses: the usual one if it is there at all."""
    header = data.lstrip(b"\r\n").split(b"\n", 1)[0].decode()
    if separator in header:
        return separator
    found = max(",;\t|", key=header.count)
    if not header.count(found):
        return separator
    notes.append(f"{file}: fields are separated by {found!r}")
    return found


def _header(record: bytes, separator: str, quoted: bool, file: str, notes: list[str]) -> list[str]:
    text = record.decode().rstrip("\r\n")
    try:
        names = next(csv.reader([text], delimiter=separator)) if quoted else text.split(separator)
    except csv.Error as error:  # a lone carriage return among line feeds
        raise DataError(f"{file}:1: the header cannot be read: {error}; use one kind of line end") from error
    names = [name.strip() for name in names]
    for place, name in enumerate(names):
        if not name:
            names[place] = f"column_{place + 1}"
            notes.append(f"{file}: column {place + 1} has no name; it is called '{names[place]}'")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file}:1: column '{twice[0]}' occurs more than once; rename or remove one of them")
    return names


def _parse(data: bytes, separator: str, columns: Sequence[str], *, quoted: bool) -> pl.DataFrame:
    schema = dict.fromkeys(columns, pl.String)
    if not data:
        return pl.DataFrame(schema=schema)
    quote = '"' if quoted else None
    return pl.read_csv(data, separator=separator, has_header=False, schema=schema, quote_char=quote)


def _ragged(data: bytes, records: Records, ragged: Bool, columns: Sequence[str], file: str) -> pl.DataFrame:
    rows = np.flatnonzero(ragged)
    values = [data[records.starts[row] : records.ends[row]].decode().rstrip("\r\n").replace(UNIT, "::") for row in rows]
    cure = f" fields found, {len(columns)} needed; quote fields that hold a separator, add missing ones"
    table = _table(records.lines[rows], values, file=file, rule="field-count", hint=cure)
    return table.with_columns(hint=pl.format("{}{}", pl.Series(records.widths[rows]), "hint"))


def _broken_lines(broken: dict[int, str], file: str) -> pl.DataFrame:
    hint = "these bytes are not UTF-8 like the rest of the file; save the whole file as UTF-8"
    return _table(list(broken), list(broken.values()), file=file, rule="broken-encoding", hint=hint)


def _table(lines: Iterable[int], values: list[str], *, file: str, rule: str, hint: str) -> pl.DataFrame:
    line, value = pl.Series(list(lines), dtype=pl.Int64), pl.Series(values, dtype=pl.String)
    return problem_table(line, value, file=file, rule=rule, hint=hint)


def _is_literal(data: bytes) -> bool:
    """Whether the first row is a Python literal and not JSON."""
    line = data.lstrip().split(b"\n", 1)[0].decode()
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return line.startswith("{'") or (line.startswith('{"') and "': " in line)
    return False


def _column(name: str, values: list[Any], file: str, notes: list[str]) -> pl.Series:
    """Give JSON values one type: integers, floats, booleans, strings or lists of strings; else JSON text."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {str}:
        return pl.Series(name, values, dtype=pl.String)
    try:
        if kinds == {bool}:
            return pl.Series(name, values, dtype=pl.Boolean)
        if kinds == {int}:
            return pl.Series(name, values, dtype=pl.Int64)
        if kinds <= {int, float}:
            return pl.Series(name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
        if kinds == {list} and all(part is None or type(part) is str for value in values for part in value or ()):
            return pl.Series(name, values, dtype=pl.List(pl.String))
    except OverflowError:  # a whole number beyond 64 bits
        pass
    notes.append(f"{file}: column '{name}' mixes or nests types; kept as JSON text")
    return pl.Series(name, [_json_text(value) for value in values], dtype=pl.String)


def _json_text(value: Any) -> str | None:  # noqa: ANN401  # any JSON value
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def sniff_json(path: Path) -> dict[str, Any]:
    """Return the first row of a JSON-lines file (or of Python literals), empty if it is neither."""
    data = read_bytes(path, limit=1 << 20).lstrip()
    if not data.startswith(b"{"):
        return {}
    line = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    for parse in (json.loads, ast.literal_eval):
        try:
            row = parse(line)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return row if isinstance(row, dict) else {}
    return {}


__all__ = [
    "SUFFIXES",
    "Table",
    "Tables",
    "cast_columns",
    "first_lines",
    "read_delimited",
    "read_json_lines",
    "read_parquet",
    "read_table",
    "sniff_json",
    "table_suffix",
]
