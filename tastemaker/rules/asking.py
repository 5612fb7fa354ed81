"""Who asks, where and when; and whether a rule holds for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.errors import DataError
from tastemaker.rules.matching import choose
from tastemaker.rules.schema import word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tastemaker.rules.columns import CatalogueColumns
    from tastemaker.rules.document import RuleSet
    from tastemaker.rules.matching import Chosen
    from tastemaker.rules.schema import Condition, When
    from tastemaker.types import Int32, Int64

LATELY = np.iinfo(np.int64).max
"""Stands for the time of an event of which none is known: it counts as one of just now."""


@dataclass(frozen=True)
class Shopper:
    """What rules know of a shopper.

    Attributes:
        attributes: e.g. {"region": "DE", "age": 34, "segments": ["loyal"]}; any JSON values.
        items: int32, numbers of the products of the history; -1 for those that the catalogue lacks.
        event_types: what the shopper did with each, e.g. "purchase".
        timestamps: int64, when, in milliseconds UTC; `LATELY` where nobody knows.
        had: int32, numbers of products that no pin and no fallback is to bring in again. They say nothing where an
            `already_bought` rule holds, which decides then.

    Raises:
        DataError: items, event types and timestamps of different lengths.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    items: Int32 = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    event_types: Sequence[str] = ()
    timestamps: Int64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    had: Int32 = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def __post_init__(self) -> None:
        if not len(self.items) == len(self.event_types) == len(self.timestamps):
            raise DataError(
                f"shopper: {len(self.items)} items, {len(self.event_types)} event types and "
                f"{len(self.timestamps)} timestamps; give one of each an event"
            )

    def words(self, name: str) -> frozenset[str]:
        """Return the values of an attribute as rules compare them; none where it is not known."""
        value = self.attributes.get(name)
        found = set()
        for one in value if isinstance(value, list | tuple | set | frozenset) else (value,):
            try:
                found.add(word(one))
            except ValueError:  # unknown, or no plain value
                continue
        return frozenset(found)

    def amount(self, name: str) -> float | None:
        """Return an attribute as a finite number, None where it is none."""
        value = self.attributes.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        try:
            amount = float(value)
        except (ValueError, OverflowError):
            return None
        return amount if np.isfinite(amount) else None


@dataclass(frozen=True)
class Context:
    """Where and when a list is asked for.

    Attributes:
        now: milliseconds UTC.
        strategy: name of the place in the shop.
        items: numbers of the products that the shopper looks at.
        variants: experiment -> variant of this shopper.
    """

    now: int
    strategy: str = ""
    items: Sequence[int] = ()
    variants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moments:
    """A `When` made ready.

    Attributes:
        when: the document's conditions.
        since: milliseconds UTC, None for ever.
        until: first millisecond that is not part of it, None for ever.
        context: the products one of which the shopper must look at.
    """

    when: When
    since: int | None
    until: int | None
    context: Chosen | None

    def hold(self, shopper: Shopper, context: Context) -> bool:
        """Whether every condition fits."""
        when = self.when
        if self.since is not None and context.now < self.since:
            return False
        if self.until is not None and context.now >= self.until:
            return False
        if when.strategies is not None and _folded(context.strategy) not in when.strategies:
            return False
        if not all(_fits(wanted, shopper, name) for name, wanted in when.user.items()):
            return False
        if not all(_folded(context.variants.get(name)) in wanted for name, wanted in when.variants.items()):
            return False
        return self.context is None or _looked_at(self.context, context)


def moments(when: When | None, rules: RuleSet, columns: CatalogueColumns) -> Moments | None:
    """Make conditions ready for a catalogue."""
    if when is None:
        return None
    since = None if when.since is None else rules.starts(when.since)
    until = None if when.until is None else rules.ends(when.until)
    return Moments(when, since, until, None if when.context is None else choose(when.context, columns))


def _folded(name: str | None) -> str | None:
    return word(name) if name and name.strip() else None


def _fits(wanted: Condition, shopper: Shopper, name: str) -> bool:
    if wanted.values is not None:
        return not shopper.words(name).isdisjoint(wanted.values)
    amount = shopper.amount(name)
    if amount is None:
        return False
    return (wanted.min is None or amount >= wanted.min) and (wanted.max is None or amount <= wanted.max)


def _looked_at(chosen: Chosen, context: Context) -> bool:
    items = [item for item in context.items if 0 <= item < len(chosen.fits)]
    return bool(items) and bool(chosen.at(context.now)[items].any())
