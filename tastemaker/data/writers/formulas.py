"""Cells that a spreadsheet program would run as a formula: made harmless in text files, and restored from our own.

A product called `=HYPERLINK("http://evil.example","Sale")` in a CSV is a link as soon as somebody opens the file (CSV
injection; OWASP names the characters). A cell that begins with one of them, or with quotation marks and then one, gets
one more quotation mark in front; taking it away again gives back exactly what was there, as nothing else begins so.
"""

from __future__ import annotations

import polars as pl

SIGN = "[=+\\-@\t\r\n＝＋－＠]"
RISKY, NEUTRALISED = f"^'*{SIGN}", f"^'+{SIGN}"
MARK = "'"


def risky_cells(frame: pl.DataFrame) -> int:
    """Count the texts and names of columns that `neutralised` changes."""
    names = pl.Series(frame.columns, dtype=pl.String).str.contains(RISKY).sum()
    cells = frame.select(column.str.contains(RISKY).sum() for column in _texts(frame))
    return int(names) + sum(count or 0 for count in (cells.row(0) if cells.width else ()))


def neutralised(frame: pl.DataFrame) -> pl.DataFrame:
    """Put a quotation mark in front of every text and every name of a column that a spreadsheet would run."""
    frame = frame.with_columns(_prefixed(column) for column in _texts(frame))
    names = pl.DataFrame({"name": frame.columns}, schema={"name": pl.String}).select(_prefixed(pl.col("name")))
    return frame.rename(dict(zip(frame.columns, names["name"], strict=True)))


def restored(frame: pl.DataFrame) -> pl.DataFrame:
    """Undo `neutralised`."""
    frame = frame.with_columns(_shortened(column) for column in _texts(frame))
    names = pl.DataFrame({"name": frame.columns}, schema={"name": pl.String}).select(_shortened(pl.col("name")))
    return frame.rename(dict(zip(frame.columns, names["name"], strict=True)))


def _texts(frame: pl.DataFrame) -> list[pl.Expr]:
    return [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]


def _prefixed(column: pl.Expr) -> pl.Expr:
    return pl.when(column.str.contains(RISKY)).then(pl.lit(MARK) + column).otherwise(column).name.keep()


def _shortened(column: pl.Expr) -> pl.Expr:
    return pl.when(column.str.contains(NEUTRALISED)).then(column.str.slice(1)).otherwise(column).name.keep()
