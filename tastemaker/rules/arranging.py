"""From a ranked list to the one that is shown: boosts, diversity, caps, pins, fallback, and a note on each change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from tastemaker.errors import DataError
from tastemaker.rules.schema import Boost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.rules.schema import Bury, Cap, Diversity
    from tastemaker.types import Bool, Float32, Float64, Int32, Int64

Source = Literal["ranked", "pinned", "fallback"]


class Allowing(Protocol):
    """What decides which products may be shown."""

    @property
    def allowed(self) -> Bool:
        """Whether each product may be shown, [n]."""

    def why(self, item: int) -> list[str]:
        """Return every cause for which a product must not be shown."""


@dataclass(frozen=True, slots=True)
class Note:
    """One line for the audit.

    Attributes:
        rule: its name, or what else was the cause.
        action: "suppressed", "boost", "bury", "diversity", "cap", "pin" or "fallback"; "skipped" for a rule that could
            not work.
        item: number of the product, -1 for none.
        before: its place in the list that came in, counted from 1; None where it was not in it.
        after: its place in the list that is shown; None where it is not in it.
    """

    rule: str
    action: str
    item: int
    before: int | None
    after: int | None


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
    """

    moves: tuple[Moved, ...] = ()
    pins: tuple[tuple[str, int, int], ...] = ()
    caps: tuple[tuple[str, Cap, Int32], ...] = ()
    diversity: tuple[str, Diversity] | None = None
    spare: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class _Log:
    """Gathers notes; where products ended up is filled in at the end."""

    before: dict[int, int]
    lines: list[tuple[str, str, int]] = field(default_factory=list)

    def add(self, rule: str, action: str, item: int) -> None:
        self.lines.append((rule, action, item))

    def notes(self, shown: list[int]) -> tuple[Note, ...]:
        after = {item: place for place, item in enumerate(shown, start=1)}
        found = []
        for rule, action, item in dict.fromkeys(self.lines):
            note = Note(rule, action, item, self.before.get(item), after.get(item))
            unseen = note.after is None and (note.before or 0) > len(shown)
            if not (unseen and action in ("boost", "bury")):
                found.append(note)
        return tuple(found)


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
    log = _Log({item: place for place, item in enumerate(listed.tolist(), start=1)})
    for item in listed[~allowed[listed]].tolist():
        for cause in allowing.why(item):
            log.add(cause, "suppressed", item)
    queue = listed[allowed[listed]]
    relevance = _relevance(np.asarray([score_of[item] for item in queue.tolist()], dtype=np.float64))
    queue, relevance = _moved(queue, relevance, orders.moves, log)
    pins = _pins(orders.pins, n, allowing, log)
    diversity = orders.diversity
    if diversity is not None and vectors is None:
        log.add(diversity[0], "skipped", -1)
        diversity = None
    spare = _spare(orders.spare, allowing, log)
    if not (pins or orders.caps or diversity or (spare and len(queue) < n)):
        shown = queue[:n].tolist()
        sources: list[Source] = ["ranked"] * len(shown)
    else:
        shown, sources = _Placing(queue, relevance, pins, spare, orders.caps, diversity, vectors, log).run(n)
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


def _moved(queue: Int32, relevance: Float64, moves: Sequence[Moved], log: _Log) -> tuple[Int32, Float64]:
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


def _pins(given: Sequence[tuple[str, int, int]], n: int, allowing: Allowing, log: _Log) -> dict[int, int]:
    """Return place from 0 -> product; a taken place passes a pin on to the next, and one beyond the list is none."""
    pins: dict[int, int] = {}
    for rule, item, place in given:
        if item < 0 or item in pins.values():
            continue
        at = place - 1
        while at in pins:
            at += 1
        if at >= n:
            continue
        if not allowing.allowed[item]:
            for cause in allowing.why(item):
                log.add(cause, "suppressed", item)
            continue
        pins[at] = item
        log.add(rule, "pin", item)
    return pins


def _spare(given: Sequence[tuple[str, int]], allowing: Allowing, log: _Log) -> dict[int, str]:
    """Return the products of fallbacks that may be shown -> their rule."""
    spare: dict[int, str] = {}
    for rule, item in given:
        if item >= 0 and allowing.allowed[item]:
            spare.setdefault(item, rule)
    return spare


class _Placing:
    """Fills the places one after the other."""

    def __init__(
        self,
        queue: Int32,
        relevance: Float64,
        pins: dict[int, int],
        spare: dict[int, str],
        caps: Sequence[tuple[str, Cap, Int32]],
        diversity: tuple[str, Diversity] | None,
        vectors: Callable[[Int32], Float32] | None,
        log: _Log,
    ) -> None:
        self.pins, self.spare, self.caps, self.diversity, self.log = pins, spare, caps, diversity, log
        ranked = set(queue.tolist())
        extra = [item for item in [*pins.values(), *spare] if item not in ranked]
        self.pool: Int32 = np.concatenate([queue, np.asarray(list(dict.fromkeys(extra)), dtype=np.int32)])
        self.row = {item: row for row, item in enumerate(self.pool.tolist())}
        self.ranked = len(queue)
        self.free = np.ones(len(self.pool), dtype=np.bool_)
        self.free[[self.row[item] for item in pins.values()]] = False
        self.codes: list[Int64] = []
        self.counts: list[Int64] = []
        for _, _, codes in caps:
            values, local = np.unique(codes[self.pool], return_inverse=True)
            known = np.where(codes[self.pool] < 0, -1, local)
            self.codes.append(known.astype(np.int64))
            self.counts.append(np.zeros(len(values) + 1, dtype=np.int64))
        self.relevance = np.zeros(len(self.pool))
        self.relevance[: self.ranked] = relevance
        self.unit = None if vectors is None or diversity is None else _unit(vectors(self.pool))
        self.nearest = np.full(len(self.pool), -np.inf)

    def run(self, n: int) -> tuple[list[int], list[Source]]:
        """Return the products of at most n places, and who brought them in."""
        rows: list[int] = []
        due = {place: self.row[item] for place, item in self.pins.items()}
        pinned = set(due.values())
        for place, row in due.items():
            self._count(row, place)
        while len(rows) < n:
            row = due.pop(len(rows), -1)
            if row < 0:
                row = self._next(len(rows), n)
                if row < 0:
                    break
                self._count(row, len(rows))
            self._put(row)
            rows.append(row)
        rows += [due[place] for place in sorted(due)]
        sources: list[Source] = [
            "pinned" if row in pinned else "ranked" if row < self.ranked else "fallback" for row in rows
        ]
        shown = [int(self.pool[row]) for row in rows]
        for item, source in zip(shown, sources, strict=True):
            if source == "fallback":
                self.log.add(self.spare[item], "fallback", item)
        return shown, sources

    def _next(self, place: int, n: int) -> int:
        """Return the row of the best free product that the caps let into a place, -1 where there is none."""
        fits = self.free.copy()
        for (_, cap, _), codes, counts in zip(self.caps, self.codes, self.counts, strict=True):
            if place < (cap.top or n):
                fits &= (codes < 0) | (counts[codes] < cap.at_most)
        ranked = np.flatnonzero(fits[: self.ranked])
        if not len(ranked):
            self._note_capped(place, n, self.ranked)
            spare = [self.row[item] for item in self.spare if fits[self.row[item]]]
            return spare[0] if spare else -1
        best = int(ranked[0])
        if self.diversity is not None and self.unit is not None and place < (self.diversity[1].top or n):
            best = int(ranked[np.argmax(self._marginal(ranked, self.diversity[1].strength))])
            if best != ranked[0]:
                self.log.add(self.diversity[0], "diversity", int(self.pool[best]))
        self._note_capped(place, n, best)
        return best

    def _marginal(self, rows: Int64, strength: float) -> Float64:
        """Return (1 - strength) relevance - strength (largest cosine to a product above), of rows."""
        nearest = np.where(np.isneginf(self.nearest[rows]), 0.0, self.nearest[rows])
        return np.asarray((1 - strength) * self.relevance[rows] - strength * nearest)

    def _note_capped(self, place: int, n: int, before: int) -> None:
        """Note the products that a cap keeps from a place which their order would have given them."""
        for (rule, cap, _), codes, counts in zip(self.caps, self.codes, self.counts, strict=True):
            if place < (cap.top or n):
                full = self.free[:before] & (codes[:before] >= 0) & (counts[codes[:before]] >= cap.at_most)
                for row in np.flatnonzero(full):
                    self.log.add(rule, "cap", int(self.pool[row]))

    def _count(self, row: int, place: int) -> None:
        for (_, cap, _), codes, counts in zip(self.caps, self.codes, self.counts, strict=True):
            if cap.top is None or place < cap.top:
                counts[codes[row]] += 1

    def _put(self, row: int) -> None:
        self.free[row] = False
        if self.unit is not None:
            np.maximum(self.nearest, self.unit @ self.unit[row], out=self.nearest)


def _unit(vectors: Float32) -> Float32:
    """Return vectors of length 1; one without a direction, or with NaN, is like no other."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    good = np.isfinite(lengths) & (lengths > 0)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=good), dtype=np.float32)
