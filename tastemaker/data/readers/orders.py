"""Which rows of an order log are interactions: orders that stand, of shoppers who can be told apart.

An order log also has returns, orders that were cancelled or made for a test, and guests without an id. What is left out
or changed for that is counted and said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tastemaker.data.checks.problems import counted
from tastemaker.data.readers.headers import header_of
from tastemaker.data.readers.prices import plain_amounts
from tastemaker.data.readers.table import no_column
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tastemaker.data.readers.table import Table

NOBODY = ("", "null", "none", "nan", "\\n")
"""What stands, in upper or lower case, where an export names no shopper."""
GUEST = "guest-"
SHOWN = 8
"""Values of a column that a message shows."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of an order log are read; by default all but returns.

    Attributes:
        only: header and value: of each header, rows with one of its values stay.
        without: header and value: rows with it are left out; the empty value means empty cells.
        guests: header of what tells guests apart, such as the order's number: each of its values is a shopper of its
            own in the rows that name none (`NOBODY`).
    """

    only: tuple[tuple[str, str], ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    guests: str | None = None

    def __bool__(self) -> bool:
        return bool(self.only or self.without or self.guests)


ALL = Rows()


def chosen(table: Table, rows: Rows, names: Mapping[str, str], *, quantity: str | None = None) -> Table:
    """Return the rows of an order log that count.

    Args:
        table: the interactions under canonical names.
        rows: which of them count.
        names: header -> the name that its column has now, where that is another.
        quantity: header of how many were bought; found out without it. Where it is below 0, the row is a return.

    Raises:
        DataError: a header is none of the table's, or no row is left.
    """
    for header in dict.fromkeys(header for header, _ in rows.only):
        values = [value for one, value in rows.only if one == header]
        found = _has(table, names, header, values)
        table = _left_out(table, ~found, f"{header} is not {' or '.join(map(_word, values))}", header, names)
    for header, value in rows.without:
        table = _left_out(table, _has(table, names, header, [value]), f"{header} is {_word(value)}", header, names)
    table = _without_returns(table, names.get(quantity, quantity) if quantity else None)
    return _with_guests(table, names, rows.guests) if rows.guests else table


def _column(table: Table, names: Mapping[str, str], header: str) -> pl.Series:
    column: pl.Series | None = table.frame.get_column(names.get(header, header), default=None)
    if column is None:
        raise no_column(table, header, names=names)
    if column.dtype.is_nested():
        raise DataError(
            f"{table.file}: column '{header}' holds {column.dtype}; choose rows by a column of plain values"
        )
    return column.cast(pl.String).str.strip_chars().fill_null("")


def _has(table: Table, names: Mapping[str, str], header: str, values: list[str]) -> pl.Series:
    return _column(table, names, header).is_in([value.strip() for value in values])


def _left_out(table: Table, out: pl.Series, why: str, header: str, names: Mapping[str, str]) -> Table:
    """Leave rows out and say how many; what leaves nothing is refused, with the values that there are."""
    if len(out) and out.all():
        there = _column(table, names, header).value_counts(sort=True).get_column(names.get(header, header)).to_list()
        more = ", ..." if len(there) > SHOWN else ""
        raise DataError(
            f"{table.file}: no row is left: {why} in all of them; there: {', '.join(map(_word, there[:SHOWN]))}{more}"
        )
    return table.filter(~out).with_frame(
        table.frame.filter(~out), f"{table.file}: {counted(int(out.sum()), 'row')} left out: {why}"
    )


def _without_returns(table: Table, quantity: str | None) -> Table:
    """Leave out the rows that say what was sent back."""
    if quantity is None:
        quantity = header_of("quantity", table.frame.columns)
    if quantity is None or quantity not in table.frame.columns:
        return table
    column = table.frame[quantity]
    if not (column.dtype.is_numeric() or column.dtype == pl.String):
        return table
    below = (plain_amounts(column, table.lines, file=table.file)[0].cast(pl.Float64, strict=False) < 0).fill_null(False)
    if not below.any():
        return table
    if below.all():
        raise DataError(
            f"{table.file}: no row is left: {quantity} is below 0 in all of them, which are returns; if another column "
            "says how many were bought, name it: tastemaker data convert takes --column quantity=HEADER"
        )
    words = f"{counted(int(below.sum()), 'return')} left out ({quantity} is below 0); what was bought before stays"
    return table.filter(~below).with_frame(table.frame.filter(~below), f"{table.file}: {words}")


def _with_guests(table: Table, names: Mapping[str, str], header: str) -> Table:
    """Let each value of a column be a shopper of its own where the rows name none."""
    users = table.frame.get_column("user_id", default=None)
    if users is None:
        return table  # refused later, in words of its own
    told = _column(table, names, header)
    nobody = users.cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("").is_in(NOBODY) & (told != "")
    guests = pl.select(pl.when(nobody).then(GUEST + told).otherwise(users.cast(pl.String)).alias("user_id")).to_series()
    count = counted(int(told.filter(nobody).n_unique()), "shopper")
    words = f"{table.file}: {counted(int(nobody.sum()), 'row')} of guests: {count}, one for each {header}"
    return table.with_frame(table.frame.with_columns(guests), words)


def _word(value: str) -> str:
    return repr(value) if value.strip() else "empty"
