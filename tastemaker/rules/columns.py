"""The catalogue as rules read it: columns with one row a product, indexed once, looked up many times."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.errors import DataError
from tastemaker.rules.schema import stock_word, word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.types import Bool, Float64, Int32, Int64

LAST_CATEGORY = "category"
"""The name by which rules call the last category of each product."""
_ALIASES = {"brands": "brand", "item": "id", "item_id": "id", "group": "group_id", "groups": "group_id"}


@dataclass(frozen=True, slots=True)
class Index:
    """Which products have which value.

    Attributes:
        slots: value, as `word` writes it -> its number.
        written: each value as the catalogue writes it first, by number.
        offsets: int64 [values + 1].
        rows: int32; the products with value s are `rows[offsets[s]:offsets[s + 1]]`, in rising order.
        size: number of products.
    """

    slots: dict[str, int]
    written: tuple[str, ...]
    offsets: Int64
    rows: Int32
    size: int

    def of(self, value: str) -> Int32:
        """Return the products with a value, none for an unknown one."""
        slot = self.slots.get(value)
        return self.rows[:0] if slot is None else self.rows[self.offsets[slot] : self.offsets[slot + 1]]

    def mask(self, values: Iterable[str]) -> Bool:
        """Say of each product whether it has one of the values, [n]."""
        found = np.zeros(self.size, dtype=np.bool_)
        for value in values:
            found[self.of(value)] = True
        return found

    @property
    def known(self) -> Bool:
        """Say of each product whether it has any value, [n]."""
        found = np.zeros(self.size, dtype=np.bool_)
        found[self.rows] = True
        return found

    def codes(self) -> Int32:
        """Return the number of each product's value, -1 for none; of several, the one numbered last, [n]."""
        found = np.full(self.size, -1, dtype=np.int32)
        found[self.rows] = np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))
        return found


class CatalogueColumns:
    """One revision of a catalogue for rules; immutable, so what is compiled for it stays right.

    Args:
        frame: a row for each product, in the order of their numbers. "id" (or "item_id") has distinct ids; the others
            are optional: brand, categories (lists of names, the most special one last), price, currency,
            availability, group_id, created_at (a datetime, or milliseconds UTC), hidden (true for products that must
            not be shown), and any attributes, texts, numbers, truths or lists of texts.

    Raises:
        DataError: no ids, or an id occurs twice.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        if "id" not in frame.columns:
            if "item_id" not in frame.columns:
                raise DataError(f"rules need a catalogue with a column 'id'; found: {', '.join(frame.columns)}")
            frame = frame.rename({"item_id": "id"})
        self.frame = frame.with_columns(pl.col("id").cast(pl.String))
        if self.frame["id"].n_unique() != frame.height or self.frame["id"].null_count():
            raise DataError("rules need a catalogue in which every product has an id of its own")
        self.lock = threading.RLock()
        self._indices: dict[str, Index] = {}
        self._amounts: dict[str, Float64] = {}
        self.compiled: dict[str, Any] = {}  # digest of rules -> what `plan` compiled for them

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> CatalogueColumns:
        """Gather products that are given one by one, such as those of a store.

        Args:
            rows: "item_id" and the other columns of each product; what stands in "attributes" becomes columns of
                their own, if the names are free. Attributes whose types differ between products are kept as texts.
        """
        columns: dict[str, list[Any]] = {}
        count = 0
        for count, row in enumerate(rows, start=1):
            given = {key: value for key, value in row.items() if key != "attributes"}
            for key, value in {**(row.get("attributes") or {}), **given}.items():
                column = columns.setdefault(str(key), [])
                column.extend([None] * (count - 1 - len(column)))
                column.append(value)
        for column in columns.values():
            column.extend([None] * (count - len(column)))
        series = [_series(name, values) for name, values in columns.items()]
        return cls(pl.DataFrame(series) if series else pl.DataFrame({"id": pl.Series([], dtype=pl.String)}))

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {id_: number for number, id_ in enumerate(self.frame["id"].to_list())}

    def numbers(self, ids: Iterable[str]) -> Int32:
        """Return the numbers of ids, -1 for those that the catalogue lacks."""
        find = self._number_of.get
        return np.fromiter((find(id_, -1) for id_ in ids), dtype=np.int32)

    def ids(self, numbers: Int32 | Sequence[int]) -> list[str]:
        """Return the ids of numbers."""
        found: list[str] = self.frame["id"].gather(np.asarray(numbers, dtype=np.int64)).to_list()
        return found

    @property
    def names(self) -> list[str]:
        """Columns that rules can speak of."""
        return [*self.frame.columns, *([LAST_CATEGORY] if self._plain(LAST_CATEGORY) is None else [])]

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return self._series(name) is not None

    def index(self, name: str) -> Index:
        """Return the index of a column, made once; one without values where there is no such column."""
        with self.lock:
            if name not in self._indices:
                fold: Callable[[object], str] = stock_word if name == "availability" else word
                self._indices[name] = _index(self._series(name), self.frame.height, fold)
            return self._indices[name]

    def amounts(self, name: str) -> Float64:
        """Return a column as numbers, made once, NaN where there is none, [n]."""
        with self.lock:
            if name not in self._amounts:
                self._amounts[name] = _amounts(self._series(name), self.frame.height)
            return self._amounts[name]

    def times(self, name: str) -> Float64:
        """Return a column of times in milliseconds UTC, NaN where there is none, [n]."""
        column = self._series(name)
        if column is not None and column.dtype == pl.Date:
            column = column.cast(pl.Datetime)
        if column is not None and isinstance(column.dtype, pl.Datetime):
            return column.dt.epoch("ms").cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return self.amounts(name)

    def _series(self, name: str) -> pl.Series | None:
        plain = self._plain(name)
        if plain is None and name == LAST_CATEGORY:
            categories = self._plain("categories")
            if categories is not None and isinstance(categories.dtype, pl.List | pl.Array):
                return categories.list.last() if isinstance(categories.dtype, pl.List) else categories.arr.last()
            return categories
        return plain

    def _plain(self, name: str) -> pl.Series | None:
        name = _ALIASES.get(name, name)
        return self.frame[name] if name in self.frame.columns else None


def _amounts(column: pl.Series | None, size: int) -> Float64:
    if column is None or column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary):
        return np.full(size, np.nan)
    return column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _index(column: pl.Series | None, size: int, fold: Callable[[object], str]) -> Index:
    if column is None or column.dtype in (pl.Struct, pl.Object, pl.Binary):
        return Index({}, (), np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32), size)
    table = pl.DataFrame({"row": np.arange(size, dtype=np.int32), "value": column})
    while table["value"].dtype.is_nested():
        table = table.explode("value")
    table = table.drop_nulls("value")
    if table["value"].dtype.is_float():
        table = table.drop_nans("value")
    distinct = table["value"].unique(maintain_order=True)
    slots: dict[str, int] = {}
    written: list[str] = []
    codes: list[int | None] = []
    for value in distinct.to_list():
        try:
            key = fold(value)
        except ValueError:  # an empty text, or a value of no plain kind
            codes.append(None)
            continue
        if key not in slots:
            slots[key] = len(slots)
            written.append(str(value))
        codes.append(slots[key])
    known = pl.DataFrame({"value": distinct, "code": pl.Series(codes, dtype=pl.Int32)})
    table = table.join(known, on="value", how="left", nulls_equal=True).drop_nulls("code").unique(["row", "code"])
    table = table.sort("code", "row")
    offsets = np.zeros(len(slots) + 1, dtype=np.int64)
    np.cumsum(np.bincount(table["code"].to_numpy(), minlength=len(slots)), out=offsets[1:])
    return Index(slots, tuple(written), offsets, table["row"].to_numpy().astype(np.int32), size)


def _series(name: str, values: list[Any]) -> pl.Series:
    """Return values as a column of one type; values of mixed types as texts, and what is nested deeper as nothing."""
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [_text(value) for value in values], dtype=pl.String)


def _text(value: object) -> str | None:
    try:
        return None if value is None else word(value)
    except ValueError:
        return None
