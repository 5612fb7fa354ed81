"""Which products a selection means, as masks over the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.rules.schema import Selection

if TYPE_CHECKING:
    from tastemaker.rules.columns import CatalogueColumns
    from tastemaker.rules.schema import Condition, Matching, Price
    from tastemaker.types import Bool, Float64

DAY = 86_400_000
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The products of a selection.

    Attributes:
        fits: all conditions but that on age, [n].
        created: times of creation in milliseconds UTC, NaN for unknown ones, [n]; None where age is no condition.
        days: the greatest age.
        missing: whether products of unknown age fit.
        but_not: products that are left out.
    """

    fits: Bool
    created: Float64 | None = None
    days: float = 0.0
    missing: bool = False
    but_not: Chosen | None = None

    @property
    def fixed(self) -> bool:
        """Whether the same products are meant at any time."""
        return self.created is None and (self.but_not is None or self.but_not.fixed)

    def at(self, now: int) -> Bool:
        """Return the products meant at a time, in milliseconds UTC, [n]."""
        found = self.fits
        if self.created is not None:
            new = self.created >= now - self.days * DAY
            found = found & (new | np.isnan(self.created) if self.missing else new)
        return found if self.but_not is None else found & ~self.but_not.at(now)


def choose(selection: Matching, columns: CatalogueColumns) -> Chosen:
    """Find the products of a selection."""
    masks = []
    if selection.items is not None:
        numbers = columns.numbers(selection.items)
        mask = np.zeros(len(columns), dtype=np.bool_)
        mask[numbers[numbers >= 0]] = True
        masks.append(mask)
    for name, values in (
        ("brand", selection.brands),
        ("categories", selection.categories),
        ("group_id", selection.groups),
        ("availability", selection.availability),
    ):
        if values is not None:
            index = columns.index(name)
            masks.append(index.mask(values) | (~index.known if selection.missing else False))
    if selection.price is not None:
        masks.append(_priced(selection.price, columns, missing=selection.missing))
    masks += [_has(name, wanted, columns, selection.missing) for name, wanted in selection.attributes.items()]
    fits = np.logical_and.reduce(masks) if masks else np.ones(len(columns), dtype=np.bool_)
    days = selection.newer_than_days
    created = None if days is None else columns.times("created_at")
    but_not = selection.but_not if isinstance(selection, Selection) else None
    return Chosen(fits, created, days or 0.0, selection.missing, choose(but_not, columns) if but_not else None)


def _priced(price: Price, columns: CatalogueColumns, *, missing: bool) -> Bool:
    amounts = columns.amounts("price")
    found = np.ones(len(columns), dtype=np.bool_)
    if price.min is not None or price.max is not None:
        found = _between(amounts, price.min, price.max, missing=missing)
    if price.currency is not None:
        index = columns.index("currency")
        found = found & (index.mask([price.currency]) | (~index.known if missing else False))
    return found


def _has(name: str, wanted: Condition, columns: CatalogueColumns, missing: bool) -> Bool:
    if wanted.values is None:
        return _between(columns.amounts(name), wanted.min, wanted.max, missing=missing)
    index = columns.index(name)
    found = index.mask(wanted.values)
    return found | ~index.known if missing else found


def _between(amounts: Float64, low: float | None, high: float | None, *, missing: bool) -> Bool:
    unknown = np.isnan(amounts)
    found = ~unknown
    if low is not None:
        found &= amounts >= low
    if high is not None:
        found &= amounts <= high
    return found | unknown if missing else found
