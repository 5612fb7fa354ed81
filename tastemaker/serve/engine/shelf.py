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

from tastemaker.characters import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.types import Bool, Int32

SHOWN = ("title", "brand", "categories", "price", "currency", "image_link")
"""Columns that an answer shows of a product."""


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
    """Products by number: those of the model first, then those that were put since, in the order they came.

    Attributes:
        items: the model's catalogue.
        revision: of the shop's catalogue that this shelf shows.
        off: numbers of products that must not be listed.
        new: ids of the products that the model does not know, in number order.
    """

    def __init__(self, items: Entities) -> None:
        self.items = items
        self.revision = 0
        self.off: frozenset[int] = frozenset()
        self.new: tuple[str, ...] = ()
        self._new_numbers: Mapping[str, int] = {}
        self._changed: Mapping[int, Mapping[str, Any]] = {}
        self._ids: list[str] = items.frame["id"].to_list()
        self._fragments: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self.items) + len(self.new)

    def with_changes(self, changes: Iterable[Change], revision: int) -> Shelf:
        """Return the shelf after some changes, in their order."""
        after = Shelf.__new__(Shelf)
        after.items, after.revision, after._ids = self.items, revision, self._ids
        off, new = set(self.off), list(self.new)
        numbers, changed = dict(self._new_numbers), dict(self._changed)
        fragments = dict(self._fragments)
        for change in changes:
            number = self._number(change.item_id, numbers)
            if number < 0:
                if change.columns is None:
                    continue
                number = numbers[change.item_id] = len(self.items) + len(new)
                new.append(change.item_id)
            fragments.pop(number, None)
            if change.columns is None or change.hidden:
                off.add(number)
            else:
                off.discard(number)
            if change.columns is not None:
                changed[number] = change.columns
        after.off, after.new = frozenset(off), tuple(new)
        after._new_numbers, after._changed, after._fragments = numbers, changed, fragments
        return after

    @cached_property
    def listed_mask(self) -> Bool:
        """Say which of the model's products may be listed, [n]."""
        mask = np.ones(len(self.items), dtype=bool)
        mask[[number for number in self.off if number < len(self.items)]] = False
        return mask

    def number(self, item_id: str) -> int:
        """Return the number of a product, -1 for one that is not known."""
        return self._number(item_id, self._new_numbers)

    def _number(self, item_id: str, new: Mapping[str, int]) -> int:
        known = int(self.items.numbers([item_id], unknown="mark")[0])
        return known if known >= 0 else new.get(item_id, -1)

    def numbers(self, ids: Sequence[str]) -> tuple[Int32, list[str]]:
        """Return the numbers of the products that are known, in the order given, and the ids that are not."""
        found = [self.number(item_id) for item_id in ids]
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

    def fragment(self, number: int) -> bytes:
        """Return the start of a product's object in an answer, `{"item_id": ..., "title": ...`, made once."""
        made = self._fragments.get(number)
        if made is None:
            columns = self.columns(number)
            shown = {"item_id": self.id_of(number), **{name: _shown(columns.get(name)) for name in SHOWN}}
            made = self._fragments[number] = json.dumps(shown, ensure_ascii=False).encode()[:-1]
        return made


def _shown(value: Any) -> Any:  # noqa: ANN401  # any value of a table
    """Return a value as an answer shows it; NaN, infinity and lone surrogates, which JSON lacks, do not get through."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    return value if value is None or isinstance(value, int | bool) else str(value)
