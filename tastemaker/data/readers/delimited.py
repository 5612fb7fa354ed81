"""Delimited text as strings, with the line of each row and every row that a parser would mend in silence."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tastemaker.data.checks.problems import counted
from tastemaker.data.readers.records import bad_quotes, index_records
from tastemaker.data.readers.table import Table, broken_lines, row_problems
from tastemaker.data.readers.text import blank, decode, read_bytes
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tastemaker.data.readers.records import Records
    from tastemaker.types import Bool

SEPARATORS = {".csv": ",", ".tsv": "\t"}
UNIT = "\x1f"  # stands in for "::", because polars separates by one byte


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
    named = re.match(rb"sep=([,;\t|])\r?\n", data) if columns is None else None
    if named:  # a spreadsheet's own word on the separator
        separator, data = named[1].decode(), b"\n" + data[named.end() :]
    if len(separator) > 1:
        data, separator = data.replace(separator.encode(), UNIT.encode()), UNIT
    separator = _separator(data, separator, file, notes) if columns is None and quoted else separator
    problems = [broken_lines(text.broken, file)]
    bad = bad_quotes(data, separator) if quoted else []
    if bad:
        lines = data.split(b"\n")
        values = [lines[number].decode() for number in bad]
        hint = 'put fields that hold a quote in quotes and double the quote: "12"" vinyl"'
        problems.append(row_problems(np.array(bad) + 1, values, file=file, rule="bad-quote", hint=hint))
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
    skipped = int((inner == 0).sum()) - len(text.broken) - len(bad) - bool(named)
    if skipped > 0:
        notes.append(f"{file}: {counted(skipped, 'blank line')} skipped")
    try:
        frame = _parse(records.select(data, good), separator, columns, quoted=quoted)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file}: cannot be parsed as delimited text ({error}); write it again") from error
    if frame.height != int(good.sum()):
        raise DataError(f"{file}: {int(good.sum()):,} rows are parsed as {frame.height:,}; write it again as plain csv")
    return Table(file, frame, pl.Series(records.lines[good]), pl.concat(problems), tuple(notes))


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
    except csv.Error as error:  # a lone carriage return among line feeds, or a name beyond the limit of csv
        cure = "use one kind of line end" if "\r" in text else "shorten its names"
        raise DataError(f"{file}:1: the header cannot be read: {error}; {cure}") from error
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
    table = row_problems(records.lines[rows], values, file=file, rule="field-count", hint=cure)
    return table.with_columns(hint=pl.format("{}{}", pl.Series(records.widths[rows]), "hint"))
