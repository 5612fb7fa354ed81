"""Columns of any type in plain forms: as bytes to hash, as texts to compare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

BETWEEN = " | "
"""What parts the members of a list in its text."""


def texts(column: pl.Series) -> list[str]:
    """Return each value of a column as a text; "" for none, members of lists and fields apart by " | "."""
    if column.dtype.is_nested() or column.dtype == pl.Object:
        return [BETWEEN.join(_members(value)) for value in column.to_list()]
    if column.dtype == pl.Binary:
        return [(value or b"").decode("utf-8", "replace") for value in column.to_list()]
    values: list[str] = column.cast(pl.String).fill_null("").to_list()
    return values


def content(table: pl.DataFrame) -> Iterator[bytes]:
    """Yield what two tables must have in common to hold the same: names and values of all columns, rows in order.

    Columns may stand in any order, and whole numbers, floats and texts may each be of any width or encoding.
    """
    for name in sorted(table.columns):
        yield f"{len(name)}:{name}".encode()
        yield from _values(table[name])


def _values(column: pl.Series) -> Iterator[bytes]:
    """Yield kind, length, nulls and values of a column, members of nested ones in turn."""
    kind = column.dtype
    yield len(column).to_bytes(8, "little") + column.is_null().to_numpy().tobytes()
    if isinstance(kind, pl.Array):
        column, kind = column.arr.to_list(), pl.List(kind.inner)
    if isinstance(kind, pl.List):
        yield b"list" + column.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes()
        yield from _values(column.drop_nulls().filter(column.drop_nulls().list.len() > 0).explode())
    elif isinstance(kind, pl.Struct):
        yield b"struct"
        yield from content(column.struct.unnest())
    elif kind.is_integer() and kind != pl.UInt64:
        yield b"whole" + column.cast(pl.Int64).fill_null(0).to_numpy().tobytes()
    elif kind.is_float():
        yield b"float" + column.cast(pl.Float64).fill_null(0).to_numpy().tobytes()
    else:
        words = pl.Series(texts(column), dtype=pl.String) if kind in (pl.Object, pl.Binary) else column.cast(pl.String)
        yield b"text" + words.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy().tobytes()
        yield "".join(words.drop_nulls().to_list()).encode("utf-8", "surrogatepass")


def _members(value: Any) -> Iterator[str]:  # noqa: ANN401  # a cell of any kind
    """Yield the texts inside a value, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for member in value:
            yield from _members(member)
    elif value is not None:
        yield str(value)
