"""Filters: what a rule forbids a shopper to be shown. No other rule brings such a product back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.rules.matching import DAY, choose
from tastemaker.rules.schema import AlreadyBought, Hide, Keep, MinimumAge, Region, Selection, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.rules.asking import Context, Shopper
    from tastemaker.rules.columns import CatalogueColumns, Index
    from tastemaker.rules.matching import Chosen
    from tastemaker.rules.schema import Action
    from tastemaker.types import Bool, Float64, Int32

FILTERS = ("keep", "hide", "minimum_age", "region", "already_bought")
"""Actions that forbid products."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter for one catalogue.

    Attributes:
        forbidden: says of each product whether the filter forbids it to a shopper in a context, [n].
        fixed: what is forbidden to every shopper at any time, None where it depends on them.
    """

    forbidden: Callable[[Shopper, Context], Bool]
    fixed: Bool | None = None


def compile_filter(action: Action, columns: CatalogueColumns) -> Filter:
    """Make a filter ready for a catalogue."""
    match action:
        case Keep() | Hide():
            return _selected(choose(action, columns), hide=isinstance(action, Hide))
        case MinimumAge():
            return Filter(_TooYoung(action, _chosen(action, columns), _limits(action, columns)))
        case Region():
            regions = columns.index(action.column)
            return Filter(_SoldElsewhere(action, _chosen(action, columns), regions, regions.known))
        case AlreadyBought():
            index = None if action.same == "item" else columns.index(action.same)
            codes = None if index is None else index.codes()
            return Filter(_Bought(action, _chosen(action, columns), index, codes, len(columns)))
        case _:
            raise TypeError(f"{type(action).__name__} is no filter")


def _selected(chosen: Chosen, *, hide: bool) -> Filter:
    if chosen.fixed:
        mask = chosen.at(0) if hide else ~chosen.at(0)
        return Filter(lambda _shopper, _context: mask, mask)
    if hide:
        return Filter(lambda _shopper, context: chosen.at(context.now))
    return Filter(lambda _shopper, context: ~chosen.at(context.now))


def _chosen(action: Selection, columns: CatalogueColumns) -> Chosen | None:
    return None if action.empty else choose(action, columns)


def _limits(action: MinimumAge, columns: CatalogueColumns) -> Float64:
    if action.column is not None:
        return columns.amounts(action.column)
    return np.full(len(columns), action.age, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _TooYoung:
    """Products with a limit above the shopper's age; a limit of NaN is none."""

    action: MinimumAge
    chosen: Chosen | None
    limits: Float64

    def __call__(self, shopper: Shopper, context: Context) -> Bool:
        age = shopper.amount(self.action.user)
        if age is None:
            age = -np.inf if self.action.unknown == "hide" else np.inf
        found = np.asarray(self.limits > age)
        return found if self.chosen is None else found & self.chosen.at(context.now)


@dataclass(frozen=True, slots=True)
class _SoldElsewhere:
    """Products with regions of which none is the shopper's."""

    action: Region
    chosen: Chosen | None
    index: Index
    limited: Bool

    def __call__(self, shopper: Shopper, context: Context) -> Bool:
        regions = shopper.words(self.action.user)
        if regions or self.action.unknown == "hide":
            found = self.limited & ~self.index.mask(regions)
        else:
            found = np.zeros_like(self.limited)
        return found if self.chosen is None else found & self.chosen.at(context.now)


@dataclass(frozen=True, slots=True)
class _Bought:
    """Products of the history, and those that share a value with them."""

    action: AlreadyBought
    chosen: Chosen | None
    index: Index | None
    codes: Int32 | None
    size: int

    def __call__(self, shopper: Shopper, context: Context) -> Bool:
        buys = {kind: bool(kind.strip()) and word(kind) in self.action.event_types for kind in set(shopper.event_types)}
        counting = np.asarray([buys[kind] for kind in shopper.event_types], dtype=np.bool_)
        counting &= (shopper.items >= 0) & (shopper.items < self.size)
        if self.action.days is not None:
            counting &= shopper.timestamps >= context.now - self.action.days * DAY
        bought = shopper.items[counting]
        found = np.zeros(self.size, dtype=np.bool_)
        found[bought] = True
        if self.index is not None and self.codes is not None:
            for code in np.unique(self.codes[bought]):
                if code >= 0:
                    found[self.index.rows[self.index.offsets[code] : self.index.offsets[code + 1]]] = True
        return found if self.chosen is None else found & self.chosen.at(context.now)
