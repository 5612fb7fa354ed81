"""From a ranked list to the one that is shown: boosts, diversity, caps, pins, fallback, and a note on each change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tastemaker.errors import DataError
from tastemaker.rules.notes import Log, Note, Source
from tastemaker.rules.placing import Placing
from tastemaker.rules.schema import Boost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.rules.schema import Bury, Cap, Diversity
    from tastemaker.types import Bool, Float32, Float64, Int32, Int64

HAD = "shopper has it"
"""What notes call the cause where a pin is left out because the shopper has its product."""


class Allowing(Protocol):
    """What decides which products may be shown."""

    @property
    def allowed(self) -> Bool:
        """Whether each product may be shown, [n]."""

    def why(self, item: int) -> list[str]:
        """Return every cause for which a product must not be shown."""


@dataclass(frozen=True, slots=True)
class Arranged:
    """The list to show.

    Attributes:
        items: int32 [at most n], in order, no padding.
        scores: float32, the scores that came in, so not falling where rules moved products; -inf for products that
            the model did not list.
        sources: who brought each product in.
        notes: each product that was suppressed, moved, boosted or added, rules in the order of their work. A boost
            or bury of a product that was, and stays, beyond the end of the list leaves none.
    """

    items: Int32
    scores: Float32
    sources: tuple[Source, ...]
    notes: tuple[Note, ...]

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Moved:
    """A boost or bury that holds: its products, [n]."""

    rule: str
    action: Boost | Bury
    mask: Bool


@dataclass(frozen=True, slots=True)
class Orders:
    """The rules of one request that arrange, each kind in the order of the document.

    Attributes:
        moves: boosts and buries.
        pins: rule, product, place counted from 1.
        caps: rule, action, and the value of each product as a number, -1 for none, [n].
        diversity: rule and action.
        spare: rule and product of fallbacks.
        had: products that pins and fallbacks leave out.
    """

    moves: tuple[Moved, ...] = ()
    pins: tuple[tuple[str, int, int], ...] = ()
    caps: tuple[tuple[str, Cap, Int32], ...] = ()
    diversity: tuple[str, Diversity] | None = None
    spare: tuple[tuple[str, int], ...] = ()
    had: frozenset[int] = frozenset()


def arrange(
    items: Int32,
    scores: Float32,
    orders: Orders,
    *,
    n: int,
    allowing: Allowing,
    vectors: Callable[[Int32], Float32] | None = None,
) -> Arranged:
    """Arrange a ranked list; see `Plan.apply`.

    Raises:
        DataError: items and scores do not fit each other, a score is NaN, or an item is not of the catalogue.
    """
    allowed = allowing.allowed
    _check(items, scores, n, len(allowed))
    listed = items[(items >= 0) & ~np.isneginf(scores)]
    _, first = np.unique(listed, return_index=True)
    listed = listed[np.sort(first)]
    score_of = dict(zip(items[::-1].tolist(), scores[::-1].tolist(), strict=True))
    log = Log({item: place for place, item in enumerate(listed.tolist(), start=1)})
    for item in listed[~allowed[listed]].tolist():
        for cause in allowing.why(item):
            log.add(cause, "suppressed", item)
    queue = listed[allowed[listed]]
    relevance = _relevance(np.asarray([score_of[item] for item in queue.tolist()], dtype=np.float64))
    queue, relevance = _moved(queue, relevance, orders.moves, log)
    pins = _pins(orders, n, allowing, log)
    diversity = orders.diversity
    if diversity is not None and vectors is None:
        log.add(diversity[0], "skipped", -1)
        diversity = None
    spare = _spare(orders, allowing)
    if not (pins or orders.caps or diversity or (spare and len(queue) < n)):
        shown = queue[:n].tolist()
        sources: list[Source] = ["ranked"] * len(shown)
    else:
        shown, sources = Placing(queue, relevance, pins, spare, orders.caps, diversity, vectors, log).run(n)
    kept = [score_of.get(item, -np.inf) for item in shown]
    return Arranged(
        np.asarray(shown, dtype=np.int32), np.asarray(kept, dtype=np.float32), tuple(sources), log.notes(shown)
    )


def _check(items: Int32, scores: Float32, n: int, size: int) -> None:
    if items.shape != scores.shape or items.ndim != 1:
        raise DataError(f"rules: items {items.shape} and scores {scores.shape} must both be [k]")
    if np.isnan(scores).any():
        raise DataError(f"rules: the score at {int(np.isnan(scores).argmax())} is NaN; a model must give a number")
    if len(items) and int(items.max()) >= size:
        raise DataError(f"rules: item {int(items.max())} is not among the {size:,} products of the catalogue")
    if n < 1:
        raise DataError(f"rules: n={n}: a list has at least one place")


def _relevance(scores: Float64) -> Float64:
    """Bring scores to 1 for the largest and 0 for the smallest; all 1 where they are alike."""
    if not len(scores):
        return scores
    finite = np.clip(scores, np.finfo(np.float32).min, np.finfo(np.float32).max)
    low, high = finite.min(), finite.max()
    return np.asarray((finite - low) / (high - low)) if high > low else np.ones_like(finite)


def _moved(queue: Int32, relevance: Float64, moves: Sequence[Moved], log: Log) -> tuple[Int32, Float64]:
    """Apply factors, then places; relevances stay falling, so that they tell the new order."""
    places = np.zeros(len(queue), dtype=np.int64)
    factors = np.ones(len(queue))
    for move in moves:
        up, hit = isinstance(move.action, Boost), move.mask[queue]
        if move.action.places is not None:
            places[hit] += -move.action.places if up else move.action.places
        elif move.action.factor is not None:
            factors[hit] *= move.action.factor if up else 1 / move.action.factor
        for item in queue[hit].tolist():
            log.add(move.rule, "boost" if up else "bury", item)
    if not moves:
        return queue, relevance
    weighed = relevance * factors
    order = np.argsort(-weighed, kind="stable")
    queue = queue[order][_by_places(places[order])]
    falling = np.sort(weighed)[::-1]
    return queue, falling / max(1.0, float(falling[0])) if len(falling) else falling


def _by_places(places: Int64) -> list[int]:
    """Return rows in their new order: rises first, from the top, then falls, from the bottom, all by whole numbers."""
    rows = list(range(len(places)))
    for row in np.flatnonzero(places < 0).tolist():
        rows.insert(max(0, row + int(places[row])), rows.pop(row))
    for row in reversed([row for row in rows if places[row] > 0]):
        at = rows.index(row)
        rows.insert(at + int(places[row]), rows.pop(at))
    return rows


def _pins(orders: Orders, n: int, allowing: Allowing, log: Log) -> dict[int, int]:
    """Return place from 0 -> product; a taken place passes a pin on to the next, and one beyond the list is none."""
    pins: dict[int, int] = {}
    for rule, item, place in orders.pins:
        if item < 0 or item in pins.values():
            continue
        at = place - 1
        while at in pins:
            at += 1
        if at >= n:
            continue
        if item in orders.had or not allowing.allowed[item]:
            for cause in (*allowing.why(item), *((HAD,) if item in orders.had else ())):
                log.add(cause, "suppressed", item)
            continue
        pins[at] = item
        log.add(rule, "pin", item)
    return pins


def _spare(orders: Orders, allowing: Allowing) -> dict[int, str]:
    """Return the products of fallbacks that may be shown -> their rule."""
    spare: dict[int, str] = {}
    for rule, item in orders.spare:
        if item >= 0 and item not in orders.had and allowing.allowed[item]:
            spare.setdefault(item, rule)
    return spare
