"""Filling a list place by place: pins where they belong, caps, diversity, and fallback where nothing else is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.rules.notes import Log, Source
    from tastemaker.rules.schema import Cap, Diversity
    from tastemaker.types import Bool, Float32, Float64, Int32

HEAD = 64
"""Ranked products among which the most unlike one is looked for at first."""


class Placing:
    """Fills the places one after the other.

    What a place asks of each product is kept from the place before: whether the caps let it in changes only where a
    value gets its number or a cap ends, and the likeness to the products above grows by that to one of them.
    """

    def __init__(
        self,
        queue: Int32,
        relevance: Float64,
        pins: dict[int, int],
        spare: dict[int, str],
        caps: Sequence[tuple[str, Cap, Int32]],
        diversity: tuple[str, Diversity] | None,
        vectors: Callable[[Int32], Float32] | None,
        log: Log,
    ) -> None:
        self.pins, self.spare, self.diversity, self.log = pins, spare, diversity, log
        ranked = set(queue.tolist())
        extra = [item for item in [*pins.values(), *spare] if item not in ranked]
        self.pool: Int32 = np.concatenate([queue, np.asarray(list(dict.fromkeys(extra)), dtype=np.int32)])
        self.row = {item: row for row, item in enumerate(self.pool.tolist())}
        self.ranked = len(queue)
        self.free = np.ones(len(self.pool), dtype=np.bool_)
        self.free[[self.row[item] for item in pins.values()]] = False
        self.open = self.free.copy()  # the free ones that all caps let into the place that is filled
        self.caps = [_Counted(rule, cap, codes[self.pool]) for rule, cap, codes in caps]
        self.noted = np.zeros(len(self.pool), dtype=np.bool_)
        self.unlike: _Unlike | None = None
        if diversity is not None and vectors is not None:
            self.unlike = _Unlike(relevance, _unit(vectors(self.pool)), diversity[1].strength)

    def run(self, n: int) -> tuple[list[int], list[Source]]:
        """Return the products of at most n places, and who brought them in."""
        rows: list[int] = []
        due = {place: self.row[item] for place, item in self.pins.items()}
        pinned = set(due.values())
        varied = 0 if self.unlike is None or self.diversity is None else self.diversity[1].top or n
        ends = {counted.cap.top for counted in self.caps}
        for place, row in due.items():
            self._count(row, place)
        while len(rows) < n:
            place = len(rows)
            if place in ends:
                self._end_caps(place)
            row = due.pop(place, -1)
            if row < 0:
                row = self._next(place, varied=place < varied)
                if row < 0:
                    break
                self._count(row, place)
            self.free[row] = self.open[row] = False
            if self.unlike is not None and place + 1 < varied:
                self.unlike.add(row)
            rows.append(row)
        rows += [due[place] for place in sorted(due)]
        sources: list[Source] = [
            "pinned" if row in pinned else "ranked" if row < self.ranked else "fallback" for row in rows
        ]
        shown = self.pool[rows].tolist()
        for item, source in zip(shown, sources, strict=True):
            if source == "fallback":
                self.log.add(self.spare[item], "fallback", item)
        return shown, sources

    def _next(self, place: int, *, varied: bool) -> int:
        """Return the row of the best free product that the caps let into a place, -1 where there is none."""
        fits = self.open[: self.ranked]
        best = int(fits.argmax()) if self.ranked else -1
        if best < 0 or not fits[best]:
            self._note_capped(place, self.ranked)
            return next((self.row[item] for item in self.spare if self.open[self.row[item]]), -1)
        if varied and self.unlike is not None and self.diversity is not None:
            first, best = best, self.unlike.best(fits)
            if best != first:
                self.log.add(self.diversity[0], "diversity", int(self.pool[best]))
        self._note_capped(place, best)
        return best

    def _note_capped(self, place: int, before: int) -> None:
        """Note the products that a cap keeps from a place which their order would have given them, each once."""
        holding = [counted for counted in self.caps if counted.closed and counted.holds(place)]
        if not holding:
            return
        for row in (self.free[:before] & ~self.open[:before] & ~self.noted[:before]).nonzero()[0]:
            self.noted[row] = True
            for counted in holding:
                if counted.full[row]:
                    self.log.add(counted.rule, "cap", int(self.pool[row]))

    def _count(self, row: int, place: int) -> None:
        for counted in self.caps:
            if counted.holds(place) and (alike := counted.add(row)) is not None:
                self.open &= ~alike

    def _end_caps(self, place: int) -> None:
        """Open what only caps that end before a place kept out."""
        self.open = self.free.copy()
        for counted in self.caps:
            if counted.holds(place):
                self.open &= ~counted.full


class _Counted:
    """A cap, and how often each of its values was shown.

    Attributes:
        rule: its name.
        cap: what it says.
        full: the products whose value has its number already.
        closed: whether there are any.
    """

    def __init__(self, rule: str, cap: Cap, codes: Int32) -> None:
        self.rule, self.cap = rule, cap
        self.full: Bool = np.zeros(len(codes), dtype=np.bool_)
        self.closed = False
        self._codes = codes
        self._counts: dict[int, int] = {}

    def holds(self, place: int) -> bool:
        """Whether it holds for a place, counted from 0."""
        return self.cap.top is None or place < self.cap.top

    def add(self, row: int) -> Bool | None:
        """Count a product that is shown; return those of its value if that has its number now."""
        code = int(self._codes[row])
        if code < 0:
            return None
        count = self._counts[code] = self._counts.get(code, 0) + 1
        if count != self.cap.at_most:
            return None
        alike = np.asarray(self._codes == code)
        self.full |= alike
        self.closed = True
        return alike


class _Unlike:
    """Maximal marginal relevance of the ranked products.

    The largest cosine to the products above only grows, so what a product was worth after the first of them is a bound
    from above. Those behind the head of the list are looked at once that bound says that one of them may be the best.

    Args:
        relevance: of each, [m].
        unit: vectors of length 1 of these and of all others that may be shown, [at least m, d].
        strength: from 0 for relevance alone to 1 for unlikeness alone.
    """

    def __init__(self, relevance: Float64, unit: Float32, strength: float) -> None:
        self._unit, self._strength = unit, strength
        self._relevance = (1 - strength) * relevance
        self._worth = self._relevance.copy()
        self._nearest: Float32 = np.zeros(len(relevance), dtype=np.float32)
        self._shown: list[int] = []
        self._size, self._head = len(relevance), min(HEAD, len(relevance))
        self._bound = self._worth[self._head :].max(initial=-np.inf)

    def add(self, row: int) -> None:
        """Take notice of a product that is shown."""
        self._shown.append(row)
        if len(self._shown) == 1:  # a cosine may be negative: before the first there is no bound
            self._nearest = self._unit[: self._size] @ self._unit[row]
            self._worth = self._relevance - self._strength * self._nearest
            self._bound = self._worth[self._head :].max(initial=-np.inf)
        else:
            self._compare(slice(0, self._head), self._unit[: self._head] @ self._unit[row])

    def best(self, fits: Bool) -> int:
        """Return the row with the largest (1 - strength) relevance - strength (largest cosine above) that fits."""
        while True:
            worth = np.where(fits[: self._head], self._worth[: self._head], -np.inf)
            best = int(worth.argmax())
            if self._head == self._size or worth[best] >= self._bound:
                return best
            behind = slice(self._head, min(self._size, 2 * self._head))
            if len(self._shown) > 1:
                self._compare(behind, (self._unit[behind] @ self._unit[self._shown[1:]].T).max(axis=1))
            self._head = behind.stop
            self._bound = self._worth[self._head :].max(initial=-np.inf)

    def _compare(self, rows: slice, cosines: Float32) -> None:
        """Take in the cosines of some rows to products that are shown."""
        nearest = np.maximum(self._nearest[rows], cosines, out=self._nearest[rows])
        np.subtract(self._relevance[rows], self._strength * nearest, out=self._worth[rows])


def _unit(vectors: Float32) -> Float32:
    """Return vectors of length 1; one without a direction, or with NaN, is like no other."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    good = np.isfinite(lengths) & (lengths > 0)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=good), dtype=np.float32)
