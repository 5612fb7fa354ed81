"""The catalogue as it is now: what a model was fitted on, with what changed since.

A shelf never changes; a change makes a new one. So an answer that is under way keeps what it began with.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.characters import replace_surrogates
from tastemaker.data.entities import Entities
from tastemaker.serve.engine.names import Names
from tastemaker.text.wishes.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tastemaker.text.wishes.wish import Filters
    from tastemaker.types import Bool, Int32

SHOWN = ("title", "brand", "categories", "price", "currency", "image_link")
"""Columns that an answer shows of a product."""
TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "title": pl.String,
    "description": pl.String,
    "brand": pl.String,
    "categories": pl.List(pl.String),
    "price": pl.Float64,
    "currency": pl.String,
    "availability": pl.String,
    "image_link": pl.String,
    "group_id": pl.String,
    "created_at": pl.Int64,
}
"""Columns of products that were put, and what they hold; attributes become columns beside these."""


@dataclass(frozen=True, slots=True)
class Change:
    """One product as the shop has put it since the model was fitted.

    Attributes:
        item_id: of the product.
        columns: what is known of it; None for a product that was taken out.
        hidden: whether it must not be listed.
    """

    item_id: str
    columns: Mapping[str, Any] | None
    hidden: bool = False


class Shelf:
    """Products by number: those of the model first, then those that were put since.

    A product that was put and taken out again leaves nothing behind: the last one gets its number.

    Args:
        items: the model's catalogue.
        changes: what was put since, in the order it came.
        names: finds the model's products; made from `items` where it is not given.

    Attributes:
        items: the model's catalogue.
        off: numbers of products that must not be listed.
        new: ids of the products that the model does not know, in number order.
    """

    def __init__(self, items: Entities, changes: Iterable[Change] = (), *, names: Names | None = None) -> None:
        self.items = items
        self._names = names or Names(items)
        self._ids: list[str] = items.frame["id"].to_list()
        self._new_numbers: dict[str, int] = {}
        self._new_ids: list[str] = []
        self._changed: dict[int, Mapping[str, Any]] = {}
        self._gone: set[int] = set()
        self._fragments: dict[int, bytes] = {}
        off: set[int] = set()
        self._take(changes, off)
        self.off, self.new = frozenset(off), tuple(self._new_ids)

    def with_changes(self, changes: Iterable[Change]) -> Shelf:
        """Return the shelf after further changes, in their order; numbers of products of the model stay."""
        after = Shelf.__new__(Shelf)
        after.items, after._ids, after._names = self.items, self._ids, self._names
        after._new_numbers, after._new_ids = dict(self._new_numbers), list(self._new_ids)
        after._changed = dict(self._changed)
        after._fragments, after._gone = dict(self._fragments), set(self._gone)
        off = set(self.off)
        after._take(changes, off)
        after.off, after.new = frozenset(off), tuple(after._new_ids)
        return after

    def _take(self, changes: Iterable[Change], off: set[int]) -> None:
        for change in changes:
            numbers = self._names.all_of(change.item_id)
            if not numbers:
                if change.columns is None:
                    self._remove(change.item_id, off)
                    continue
                numbers = (self._number_of_new(change.item_id),)
            for number in numbers:
                self._fragments.pop(number, None)
                if change.columns is None:
                    self._gone.add(number)
                    self._changed.pop(number, None)
                else:
                    self._gone.discard(number)
                    self._changed[number] = change.columns
                if change.columns is None or change.hidden:
                    off.add(number)
                else:
                    off.discard(number)

    def _number_of_new(self, item_id: str) -> int:
        known = self._new_numbers.get(item_id)
        if known is None:
            known = self._new_numbers[item_id] = len(self.items) + len(self._new_ids)
            self._new_ids.append(item_id)
        return known

    def _remove(self, item_id: str, off: set[int]) -> None:
        """Take a product out that the model does not know; the last one takes its place."""
        free = self._new_numbers.pop(item_id, None)
        if free is None:
            return
        last, last_id = len(self.items) + len(self._new_ids) - 1, self._new_ids.pop()
        held: tuple[dict[int, Any], ...] = (self._changed, self._fragments)
        for of in held:
            of.pop(free, None)
        off.discard(free)
        if free != last:
            self._new_ids[free - len(self.items)] = last_id
            self._new_numbers[last_id] = free
            for of in held:
                if last in of:
                    of[free] = of.pop(last)
            if last in off:
                off.discard(last)
                off.add(free)

    def __len__(self) -> int:
        return len(self.items) + len(self.new)

    @cached_property
    def listed_mask(self) -> Bool:
        """Say which of the model's products may be listed, [n]."""
        mask = np.ones(len(self.items), dtype=bool)
        mask[[number for number in self.off if number < len(self.items)]] = False
        return mask

    def gone(self, number: int) -> bool:
        """Say whether a product was taken out."""
        return number in self._gone

    def number(self, item_id: str) -> int:
        """Return the number of a product, -1 for one that is not known."""
        return self.numbers_or_none([item_id])[0]

    def numbers_or_none(self, ids: Sequence[str]) -> list[int]:
        """Return the number of each product, -1 for one that is not known."""
        find = self._new_numbers.get
        known = self._names.numbers(ids)
        return [number if number >= 0 else find(item_id, -1) for item_id, number in zip(ids, known, strict=True)]

    def numbers(self, ids: Sequence[str]) -> tuple[Int32, list[str]]:
        """Return the numbers of the products that are known, in the order given, and the ids that are not."""
        found = self.numbers_or_none(ids)
        missing = [item_id for item_id, number in zip(ids, found, strict=True) if number < 0]
        return np.array([number for number in found if number >= 0], dtype=np.int32), missing

    def id_of(self, number: int) -> str:
        """Return the id of a product."""
        known = len(self.items)
        return self._ids[number] if number < known else self.new[number - known]

    def columns(self, number: int) -> Mapping[str, Any]:
        """Return what is known of a product."""
        if number in self._changed:
            return self._changed[number]
        return self.items.frame.row(number, named=True)

    def frame_of(self, numbers: Sequence[int]) -> pl.DataFrame:
        """Return a table of some products, in the order given: "id" and what is known of them."""
        own = [(place, number) for place, number in enumerate(numbers) if number not in self._changed]
        put = [(place, number) for place, number in enumerate(numbers) if number in self._changed]
        parts = []
        if own:
            parts.append(
                self.items.frame[[number for _, number in own]].with_columns(
                    pl.Series("place", [place for place, _ in own], dtype=pl.Int64)
                )
            )
        if put:
            parts.append(
                _table(
                    [self.id_of(number) for _, number in put], [self._changed[number] for _, number in put]
                ).with_columns(pl.Series("place", [place for place, _ in put], dtype=pl.Int64))
            )
        if not parts:
            return pl.DataFrame({"id": pl.Series([], dtype=pl.String)})
        try:
            joined = pl.concat(parts, how="diagonal_relaxed")
        except pl.exceptions.PolarsError:  # a column that holds one thing here and another there
            joined = pl.concat([_as_texts(part) for part in parts], how="diagonal_relaxed")
        return joined.sort("place").drop("place")

    def frame(self) -> pl.DataFrame:
        """Return a table of all products in number order, with a column "hidden"."""
        hidden = np.zeros(len(self), dtype=bool)
        hidden[list(self.off)] = True
        return self.frame_of(range(len(self))).with_columns(pl.Series("hidden", hidden))

    @cached_property
    def _put(self) -> tuple[Int32, Vocabulary]:
        """Numbers of the products that were put, and what wishes can name of them."""
        numbers = sorted(self._changed)
        return np.asarray(numbers, dtype=np.int32), Vocabulary(Entities(self.frame_of(numbers)))

    def fitting(self, known: Bool, filters: Filters) -> Bool:
        """Return which products meet filters, [all], given which of the model's did as they were, [n]."""
        fits = np.concatenate([known, np.zeros(len(self.new), dtype=bool)])
        if self._changed:
            numbers, vocabulary = self._put
            fits[numbers] = vocabulary.allowed(filters)
        return fits

    @property
    def words_put(self) -> frozenset[str]:
        """Every word of the products that were put since."""
        return self._put[1].words if self._changed else frozenset()

    @property
    def changed(self) -> Mapping[int, Mapping[str, Any]]:
        """What is known of the products that were put since, by number."""
        return self._changed

    def fragment(self, number: int) -> bytes:
        """Return the start of a product's object in an answer, `{"item_id": ..., "title": ...`, made once."""
        made = self._fragments.get(number)
        if made is None:
            columns = self.columns(number)
            shown = {"item_id": self.id_of(number), **{name: _shown(columns.get(name)) for name in SHOWN}}
            made = self._fragments[number] = json.dumps(shown).encode()[:-1]
        return made


def _table(ids: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return products that were put one by one as a table."""
    names = [name for name in TYPES if any(row.get(name) is not None for row in rows)]
    columns = {
        name: pl.Series(name, [row.get(name) for row in rows], dtype=TYPES[name], strict=False) for name in names
    }
    attributes = dict.fromkeys(name for row in rows for name in row if name not in TYPES and name != "id")
    for name in attributes:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pl.Series(name, values)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            columns[name] = pl.Series(
                name, [None if value is None else str(value) for value in values], dtype=pl.String
            )
    return pl.DataFrame([pl.Series("id", ids, dtype=pl.String), *columns.values()])


def _as_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose columns beside the usual ones are texts."""
    odd = [name for name in frame.columns if name not in TYPES and name not in ("id", "place")]
    texts = [
        pl.Series(name, [None if v is None else str(v) for v in frame[name].to_list()], dtype=pl.String) for name in odd
    ]
    usual = [
        frame[name].cast(TYPES[name], strict=False)
        for name in frame.columns
        if name in TYPES and not isinstance(TYPES[name], pl.List)
    ]
    return frame.with_columns(*texts, *usual)


def _shown(value: Any) -> Any:  # noqa: ANN401  # any value of a table
    """Return a value as an answer shows it; NaN, infinity and lone surrogates, which JSON lacks, do not get through."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return value if value is None or isinstance(value, int | bool) else str(value)
