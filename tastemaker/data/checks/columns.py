"""What the canonical columns may hold, and the one type that each of them gets."""

from __future__ import annotations

import re
import shlex
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tastemaker.data.checks.rules import OTHER_UNIT, SECONDS
from tastemaker.data.checks.timestamps import to_seconds
from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.data.readers.table import Table


class Kind(NamedTuple):
    """Which types a column may have, and the words for a column of another type."""

    allows: Callable[[pl.DataType], bool]
    cure: str


def is_text(dtype: pl.DataType) -> bool:
    """Whether values have one exact text: strings, categories, whole numbers."""
    return dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)


def is_list_of_text(dtype: pl.DataType) -> bool:
    """Whether each value is a list, of any or a fixed length, of such texts."""
    return isinstance(dtype, pl.List | pl.Array) and is_text(dtype.inner)  # type: ignore[arg-type]  # a class or an object


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)


ID = Kind(is_text, "ids must be text or whole numbers")
TEXT = Kind(
    lambda dtype: is_text(dtype) or dtype.is_float() or dtype == pl.Boolean or is_list_of_text(dtype),
    "give text, or a list of texts",
)
CATEGORIES = Kind(lambda dtype: is_text(dtype) or is_list_of_text(dtype), "give a list of names to each item")
AMOUNT = Kind(_is_number, "give plain numbers such as 12.5")
POSITION = Kind(_is_number, "give whole numbers")
TIME = Kind(
    lambda dtype: _is_number(dtype) or dtype == pl.Date or isinstance(dtype, pl.Datetime),
    "give unix seconds, ISO 8601 text, dates or datetimes",
)
KINDS = {
    "interactions": {
        **{"user_id": ID, "item_id": ID, "event_type": TEXT, "split": TEXT},
        **{"value": AMOUNT, "price": AMOUNT, "position": POSITION, "timestamp": TIME},
    },
    "items": {
        **{"item_id": ID, "title": TEXT, "brand": TEXT, "description": TEXT},
        **{"categories": CATEGORIES, "price": AMOUNT},
    },
    "users": {"user_id": ID},
}
STEMS = {
    "user_id": ("user", "customer", "client", "shopper", "buyer", "visitor", "account", "email", "kunde", "besteller"),
    "item_id": ("item", "product", "article", "sku", "artikel", "produkt"),
}
"""Parts of headers under which shops keep the ids."""
ID_ENDINGS = ("id", "nr", "no", "nummer", "number", "num", "sku", "code", "mail")
NO_IDS = re.compile(r"price|preis|quantity|qty|menge|anzahl|amount|total|tax|date|datum|time|type|group")
NAMES = re.compile(r"name|label|title|bezeichnung")
"""Parts of headers that hold no id, and of those that hold one at best."""


def typed(table: Table, role: str) -> Table:
    """Give the canonical columns of a role their types: strings, lists of strings, numbers as read; times parsed.

    The parsed times stand beside the column "timestamp", as SECONDS and OTHER_UNIT.

    Raises:
        DataError: a key is missing, or a column is of a type that cannot be used.
    """
    kinds = KINDS[role]
    table = with_keys(table, role)
    casts: list[pl.Expr] = []
    notes: list[str] = []
    for name, kind in kinds.items():
        dtype = table.frame.schema.get(name)
        if dtype is None:
            continue
        if not kind.allows(dtype):
            raise DataError(f"{table.file}: column '{name}' holds {dtype}; {kind.cure}")
        column = pl.col(name)
        if kind is CATEGORIES:
            texts = parse_categories(column.cast(pl.String))
            casts.append(column.cast(pl.List(pl.String)) if is_list_of_text(dtype) else texts)
        elif is_list_of_text(dtype):
            casts.append(column.cast(pl.List(pl.String)).list.join("\n", ignore_nulls=True))
            notes.append(f"{table.file}: column '{name}' holds lists of texts; each is joined to one text")
        elif kind in (ID, TEXT) or isinstance(dtype, pl.Categorical | pl.Enum):
            casts.append(column.cast(pl.String))
        elif dtype.is_decimal():
            casts.append(column.cast(pl.Float64))
    table = table.with_frame(table.frame.with_columns(casts), *notes)
    return _timed(table) if "timestamp" in kinds and "timestamp" in table.frame.columns else table


def parse_categories(column: pl.Expr) -> pl.Expr:
    """Split "a|b" or "a > b" into a list of names without blanks around them."""
    parts = (
        pl.when(column.str.contains("|", literal=True)).then(column.str.split("|")).otherwise(column.str.split(" > "))
    )
    return parts.list.eval(pl.element().str.strip_chars()).list.eval(pl.element().filter(pl.element() != ""))


def with_keys(table: Table, role: str) -> Table:
    """Add the keys of a role to a table without any row that could be parsed; in others a missing key is an error.

    Raises:
        DataError: a key is missing; the message says which column may be it, by its own header.
    """
    keys = [name for name, kind in KINDS[role].items() if kind is ID]
    columns = table.frame.columns
    missing = [key for key in keys if key not in columns]
    if not missing:
        return table
    if not columns and table.problems.height:
        return table.with_frame(pl.DataFrame(schema=dict.fromkeys(keys, pl.String)))
    guesses = {key: header for key in missing if (header := _like(key, columns)) is not None}
    if role == "interactions":
        known = [shlex.quote(f"{key}={guesses.get(key, 'HEADER')}") for key in missing]
        options = " ".join(f"--column {one}" for one in known)
        cure = f"tastemaker data convert takes {options}" + ("" if guesses else "; is there a header line?")
        cure += "; a table of products stands behind --items" if not guesses and "item_id" in columns else ""
    else:
        cure = "; ".join(f"is '{header}' the {key}? rename it" for key, header in guesses.items())
        cure = cure or "is there a header line?"
    what = " and ".join(f"'{key}'" for key in missing)
    raise DataError(f"{table.file}: no column {what}; {cure}; found: {', '.join(columns)}")


def _like(key: str, columns: Sequence[str]) -> str | None:
    """Return the header that most probably is a key: one that reads like it, else one that speaks of it as an id."""
    lower = {column.lower(): column for column in reversed(columns)}
    close = get_close_matches(key, lower, n=1)
    if close:
        return lower[close[0]]
    of_it = [column for column in columns if any(stem in column.lower() for stem in STEMS[key])]
    likely = [column for column in of_it if column.lower().rstrip(".").endswith(ID_ENDINGS)]
    possible = [column for column in of_it if not NO_IDS.search(column.lower())]
    possible.sort(key=lambda column: bool(NAMES.search(column.lower())))
    return next(iter((*likely, *possible)), None)


def _timed(table: Table) -> Table:
    times = to_seconds(table.frame["timestamp"])
    frame = table.frame.with_columns(times.seconds.alias(SECONDS), times.other_unit.alias(OTHER_UNIT))
    return table.with_frame(frame, *([f"{table.file}: timestamps are {times.words}"] if times.words else []))
