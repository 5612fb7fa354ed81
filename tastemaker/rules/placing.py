"""Filling a list place by place: pins where they belong, caps, diversity, and fallback where nothing else is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tastemaker.rules.notes import Log, Source
    from tastemaker.rules.schema import Cap, Diversity
    from tastemaker.types import Bool, Float32, Float64, Int32, Int64


class Placing:
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
        log: Log,
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
        self.full: list[Bool] = []  # for each cap, the products whose value has its number already
        self.noted = np.zeros(len(self.pool), dtype=np.bool_)
        for _, _, codes in caps:
            values, local = np.unique(codes[self.pool], return_inverse=True)
            self.codes.append(np.where(codes[self.pool] < 0, -1, local).astype(np.int64))
            self.counts.append(np.zeros(len(values), dtype=np.int64))
            self.full.append(np.zeros(len(self.pool), dtype=np.bool_))
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
        fits = self.free
        for (_, cap, _), full in zip(self.caps, self.full, strict=True):
            if place < (cap.top or n):
                fits = fits & ~full
        ranked = fits[: self.ranked].nonzero()[0]
        if not len(ranked):
            self._note_capped(place, n, fits, self.ranked)
            return next((self.row[item] for item in self.spare if fits[self.row[item]]), -1)
        best = int(ranked[0])
        if self.diversity is not None and self.unit is not None and place < (self.diversity[1].top or n):
            best = int(ranked[np.argmax(self._marginal(ranked, self.diversity[1].strength))])
            if best != ranked[0]:
                self.log.add(self.diversity[0], "diversity", int(self.pool[best]))
        self._note_capped(place, n, fits, best)
        return best

    def _marginal(self, rows: Int64, strength: float) -> Float64:
        """Return (1 - strength) relevance - strength (largest cosine to a product above), of rows."""
        nearest = np.where(np.isneginf(self.nearest[rows]), 0.0, self.nearest[rows])
        return np.asarray((1 - strength) * self.relevance[rows] - strength * nearest)

    def _note_capped(self, place: int, n: int, fits: Bool, before: int) -> None:
        """Note the products that a cap keeps from a place which their order would have given them, each once."""
        for row in (self.free[:before] & ~fits[:before] & ~self.noted[:before]).nonzero()[0]:
            self.noted[row] = True
            for (rule, cap, _), full in zip(self.caps, self.full, strict=True):
                if full[row] and place < (cap.top or n):
                    self.log.add(rule, "cap", int(self.pool[row]))

    def _count(self, row: int, place: int) -> None:
        for (_, cap, _), codes, counts, full in zip(self.caps, self.codes, self.counts, self.full, strict=True):
            code = codes[row]
            if code >= 0 and (cap.top is None or place < cap.top):
                counts[code] += 1
                if counts[code] >= cap.at_most:
                    full |= codes == code

    def _put(self, row: int) -> None:
        self.free[row] = False
        if self.unit is not None:
            np.maximum(self.nearest, self.unit @ self.unit[row], out=self.nearest)


def _unit(vectors: Float32) -> Float32:
    """Return vectors of length 1; one without a direction, or with NaN, is like no other."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    good = np.isfinite(lengths) & (lengths > 0)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=good), dtype=np.float32)
