"""Business rules in answers: what may be listed, how the list is arranged, and a line on each move."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.event_types import AGAINST, plain
from tastemaker.rules import CatalogueColumns, Context, compile_rules
from tastemaker.rules import Shopper as RuleShopper
from tastemaker.rules.arranging import Orders, arrange
from tastemaker.rules.asking import LATELY
from tastemaker.rules.schema import Diversity
from tastemaker.serve.engine.shoppers import MINOR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tastemaker.rules import Arranged, CompiledRules, Note, Plan, RuleSet
    from tastemaker.serve.engine.asks import Ask
    from tastemaker.serve.engine.shelf import Shelf
    from tastemaker.serve.engine.shoppers import Shopper
    from tastemaker.types import Bool, Float32, Int32


class Everything:
    """Allows every product."""

    def __init__(self, size: int) -> None:
        self.allowed: Bool = np.ones(size, dtype=bool)

    def why(self, item: int) -> list[str]:
        """Return no cause."""
        del item
        return []


def compiled(rules: RuleSet | None, shelf: Shelf) -> CompiledRules | None:
    """Return rules compiled for a shelf; None where there are none."""
    if rules is None or not any(rule.enabled for rule in rules.rules):
        return None
    return compile_rules(rules, CatalogueColumns(shelf.frame()))


def plan_for(
    rules: CompiledRules,
    shopper: Shopper | None,
    shelf: Shelf,
    ask: Ask,
    *,
    looked_at: Sequence[int],
    variants: Mapping[str, str],
) -> Plan:
    """Return what the rules mean for one request; if it may list what was seen, pins and fallbacks may, too."""
    now = time.time_ns() // 1_000_000
    who = RuleShopper() if shopper is None else ruled(shopper, shelf)
    if ask.may_repeat and len(who.had):
        who = dataclasses.replace(who, had=who.had[:0])
    return rules.plan(who, Context(now, ask.place or ask.strategy, looked_at, variants))


def ruled(shopper: Shopper, shelf: Shelf) -> RuleShopper:
    """Return what rules know of a shopper, worked out once until something happens.

    What the model was fitted with counts as bought. Nobody knows when, so it counts as lately where no purchase of the
    same product is stored. The shopper has what an event told that says more than that the shopper looked.
    """
    if shopper.ruled is None:
        did = shopper.interactions()
        numbers = np.array(shelf.numbers_or_none([item_id for (item_id, _), _ in did]), dtype=np.int32)
        types = [event_type for (_, event_type), _ in did]
        kinds = [plain(event_type) for event_type in types]
        bought = numbers[np.array([kind == "purchase" for kind in kinds], dtype=np.bool_)]
        timeless = shopper.fitted[~np.isin(shopper.fitted, bought)]
        more = (numbers >= 0) & np.array([kind not in MINOR and kind not in AGAINST for kind in kinds], dtype=np.bool_)
        shopper.ruled = RuleShopper(
            shopper.attributes,
            np.concatenate([timeless, numbers]).astype(np.int32),
            [*["purchase"] * len(timeless), *types],
            np.array([*[LATELY] * len(timeless), *(when for _, when in did)], dtype=np.int64),
            np.unique(np.concatenate([shopper.fitted, numbers[more]])).astype(np.int32),
        )
    return shopper.ruled


def varied(
    items: Int32, scores: Float32, strength: float, vectors: Callable[[Int32], Float32], size: int, *, top: int
) -> Int32:
    """Fill the first places of a list in the order of maximal marginal relevance; the others follow as they are."""
    orders = Orders((), (), (), ("request", Diversity(strength=strength)), ())
    first = arrange(items, scores, orders, n=max(1, top), allowing=Everything(size), vectors=vectors).items
    return np.concatenate([first, items[~np.isin(items, first)]])


def arranged_by(
    plan: Plan, items: Int32, scores: Float32, n: int, vectors: Callable[[Int32], Float32] | None
) -> Arranged:
    """Arrange a list by the rules that hold."""
    return plan.apply(items, scores, n=n, vectors=vectors)


def audit_lines(notes: Sequence[Note], shelf: Shelf) -> list[dict[str, Any]]:
    """Return the notes on what rules did, with products by id."""
    return [
        {
            "rule": note.rule,
            "action": note.action,
            "item_id": None if note.item < 0 else shelf.id_of(note.item),
            "before": note.before,
            "after": note.after,
        }
        for note in notes
    ]
