"""Rules compiled for one revision of a catalogue, and the plan of one request: what may be shown, and how.

Precedence, whatever the order in the document: filters win over everything; then pins; then caps; then diversity; then
boosts and buries. Among rules of one kind the earlier one in the document wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.rules.arranging import Arranged, Moved, Orders, arrange
from tastemaker.rules.asking import Context, Moments, Shopper, moments
from tastemaker.rules.filters import FILTERS, Filter, compile_filter
from tastemaker.rules.matching import choose
from tastemaker.rules.schema import AlreadyBought, Boost, Bury, Cap, Diversity, Fallback, Pin

if TYPE_CHECKING:
    from collections.abc import Callable

    from tastemaker.rules.columns import CatalogueColumns
    from tastemaker.rules.document import Rule, RuleSet
    from tastemaker.rules.matching import Chosen
    from tastemaker.rules.schema import Selection
    from tastemaker.types import Bool, Float32, Int32

HIDDEN, FILTERED, EXCLUDED = "hidden product", "request filter", "request exclusion"
"""What notes call the cause where no rule of the document is."""
MOST_COMPILED = 2
"""Rule documents that stay compiled for one catalogue."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A rule made ready for a catalogue.

    Attributes:
        rule: what the document says.
        when: when it holds, None for always.
        unless: when it does not, None for never.
        filter: of filters.
        chosen: the products of boosts and buries.
        items: numbers of the products of pins and fallbacks, -1 for unknown ones.
        codes: of caps, the value of each product as a number, -1 for none, [n].
    """

    rule: Rule
    when: Moments | None
    unless: Moments | None
    filter: Filter | None = None
    chosen: Chosen | None = None
    items: tuple[int, ...] = ()
    codes: Int32 | None = None

    @property
    def always(self) -> bool:
        """Whether the rule holds for everyone."""
        return self.when is None and self.unless is None

    def holds(self, shopper: Shopper, context: Context) -> bool:
        """Whether the rule holds for a shopper in a context."""
        if self.when is not None and not self.when.hold(shopper, context):
            return False
        return self.unless is None or not self.unless.hold(shopper, context)


class CompiledRules:
    """Rules for one catalogue. Immutable and safe to share between threads.

    Args:
        rules: the document.
        columns: the catalogue.
    """

    def __init__(self, rules: RuleSet, columns: CatalogueColumns) -> None:
        self.rules = rules
        self.columns = columns
        self.ready = tuple(_ready(rule, rules, columns) for rule in rules.rules if rule.enabled)
        self.hidden = columns.index("hidden").mask(["true", "1"])
        self.always = ~self.hidden
        for one in self.ready:
            if one.always and one.filter is not None and one.filter.fixed is not None:
                self.always &= ~one.filter.fixed

    def plan(
        self,
        shopper: Shopper,
        context: Context,
        *,
        keep: Selection | None = None,
        exclude: Int32 | None = None,
    ) -> Plan:
        """Decide for one request which rules hold and what may be shown.

        Args:
            shopper: who asks.
            context: where and when.
            keep: products that the request itself asks to keep to.
            exclude: numbers of products that the request itself asks to leave out; -1 is no product.
        """
        allowed = self.always.copy()
        active = [one for one in self.ready if one.always or one.holds(shopper, context)]
        causes = [(HIDDEN, self.hidden)]
        for one in active:
            if one.filter is None:
                continue
            forbidden = one.filter.fixed
            if forbidden is None or not one.always:
                forbidden = one.filter.forbidden(shopper, context)
                allowed &= ~forbidden
            causes.append((one.rule.name, forbidden))
        if keep is not None and not keep.empty:
            causes.append((FILTERED, ~choose(keep, self.columns).at(context.now)))
            allowed &= ~causes[-1][1]
        if exclude is not None and len(exclude):
            left_out = np.zeros(len(self.columns), dtype=np.bool_)
            left_out[exclude[(exclude >= 0) & (exclude < len(left_out))]] = True
            causes.append((EXCLUDED, left_out))
            allowed &= ~left_out
        decided = any(isinstance(one.rule.action, AlreadyBought) for one in active)
        had = frozenset[int]() if decided else frozenset(shopper.had.tolist())
        return Plan(self, tuple(active), context, allowed, had, tuple(causes))


@dataclass(frozen=True)
class Plan:
    """What rules mean for one request.

    Attributes:
        compiled: the rules.
        active: those that hold.
        context: where and when.
        allowed: whether each product may be shown, [n]; for a model to rank nothing else.
        had: numbers of the products that pins and fallbacks leave out, as the shopper has them; a model may list them.
    """

    compiled: CompiledRules
    active: tuple[Ready, ...]
    context: Context
    allowed: Bool
    had: frozenset[int]
    _causes: tuple[tuple[str, Bool], ...] = field(repr=False)

    @property
    def rules(self) -> list[str]:
        """Names of the rules that hold."""
        return [one.rule.name for one in self.active]

    def suppressed(self) -> dict[str, int]:
        """Return cause -> how many products it forbids; a product may have several causes."""
        counts = {name: int(np.count_nonzero(forbidden)) for name, forbidden in self._causes}
        return {name: count for name, count in counts.items() if count}

    def why(self, item: int) -> list[str]:
        """Return every cause for which a product must not be shown; none where it may."""
        return [name for name, forbidden in self._causes if forbidden[item]]

    def apply(
        self,
        items: Int32,
        scores: Float32,
        *,
        n: int,
        vectors: Callable[[Int32], Float32] | None = None,
    ) -> Arranged:
        """Arrange a ranked list.

        Args:
            items: int32 [k'], best first, -1 at the end of a short list. Rules can only choose from what they get, so
                ask for more than n; the size that is asked for belongs to what a factor means.
            scores: float32 [k'], in any scale; the order of `items` counts, not that of scores.
            n: length of the list to show.
            vectors: numbers -> vectors, [m, d], for diversity; without it such rules are left out, with a note.

        Returns:
            At most n products that are allowed, with a note on each one that rules moved, added or took away.

        Raises:
            DataError: items and scores do not fit each other, a score is NaN, or an item is not of the catalogue.
        """
        return arrange(items, scores, self._orders(), n=n, allowing=self, vectors=vectors)

    def _orders(self) -> Orders:
        moves: list[Moved] = []
        pins: list[tuple[str, int, int]] = []
        caps: list[tuple[str, Cap, Int32]] = []
        spare: list[tuple[str, int]] = []
        diversity: tuple[str, Diversity] | None = None
        for one in self.active:
            name, action = one.rule.name, one.rule.action
            if isinstance(action, Boost | Bury) and one.chosen is not None:
                moves.append(Moved(name, action, one.chosen.at(self.context.now)))
            elif isinstance(action, Pin):
                pins += [(name, item, place) for item, place in zip(one.items, action.places, strict=True)]
            elif isinstance(action, Cap) and one.codes is not None:
                caps.append((name, action, one.codes))
            elif isinstance(action, Fallback):
                spare += [(name, item) for item in one.items]
            elif isinstance(action, Diversity) and diversity is None:
                diversity = name, action
        return Orders(tuple(moves), tuple(pins), tuple(caps), diversity, tuple(spare), self.had)


def compile_rules(rules: RuleSet, columns: CatalogueColumns) -> CompiledRules:
    """Compile rules for a catalogue, or return what was compiled before for the same document and revision."""
    with columns.lock:
        found = columns.compiled.get(rules.digest)
        if found is None:
            found = CompiledRules(rules, columns)
            while len(columns.compiled) >= MOST_COMPILED:
                columns.compiled.pop(next(iter(columns.compiled)))
            columns.compiled[rules.digest] = found
        return found


def plan(rules: RuleSet, columns: CatalogueColumns, shopper: Shopper, context: Context) -> Plan:
    """Decide for one request which rules hold and what may be shown; rules are compiled once for a catalogue."""
    return compile_rules(rules, columns).plan(shopper, context)


def _ready(rule: Rule, rules: RuleSet, columns: CatalogueColumns) -> Ready:
    when, unless = moments(rule.when, rules, columns), moments(rule.unless, rules, columns)
    action = rule.action
    if rule.kind in FILTERS:
        return Ready(rule, when, unless, filter=compile_filter(action, columns))
    match action:
        case Boost() | Bury():
            return Ready(rule, when, unless, chosen=choose(action, columns))
        case Pin() | Fallback():
            return Ready(rule, when, unless, items=tuple(columns.numbers(action.items).tolist()))
        case Cap():
            return Ready(rule, when, unless, codes=columns.index(action.by).codes())
        case _:
            return Ready(rule, when, unless)
