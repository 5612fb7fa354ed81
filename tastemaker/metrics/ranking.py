r"""Ranking measures: how many targets the lists hold, and how high.

The targets of a query are a set, and a list position is a 0-based rank $r$; $j$ numbers the hits of a list from 1:
recall@k = hits / targets; precision@k = hits / k; hit rate@k = any hit; MRR@k = 1 / (first hit's rank + 1);
MAP@k = $\sum_{hits} j/(r+1)$ / targets, as trec_eval, ir-measures and ranx have it (other libraries divide by
min(k, targets)); NDCG@k = $\sum_{hits} 1/\log_2(r+2)$ over the same sum of an ideal list (Jarvelin and Kekalainen,
2002; binary gains). A target that a list names twice counts once, at its first place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.data.queries import Queries

if TYPE_CHECKING:
    from tastemaker.data.ranking import Ranking
    from tastemaker.types import Float32, Float64, Int32, Int64


@dataclass(frozen=True)
class Hits:
    """The places of B lists that hold a target of their query.

    Attributes:
        rows: int64 [h] list of each hit, in rising order.
        places: int64 [h] 0-based position in the list, rising within each list.
        items: int32 [h] the targets.
        counts: int64 [B] number of distinct targets of each query.
    """

    rows: Int64
    places: Int64
    items: Int32
    counts: Int64

    @cached_property
    def order(self) -> Int64:
        """Number of each hit within its list, from 1, int64 [h]."""
        return np.arange(1, len(self.rows) + 1) - np.searchsorted(self.rows, self.rows)

    def total(self, k: int, gains: Float64 | None = None) -> Float64:
        """Return the sum of `gains` (by default 1 a hit) over each list's hits among the first k, [B]."""
        inside = self.places < k
        weights = None if gains is None else gains[inside]
        return np.bincount(self.rows[inside], weights, minlength=len(self.counts)).astype(np.float64)


def distinct(targets: Queries) -> Queries:
    """Return the queries without repeated items, each in rising order of item numbers."""
    if (targets.lengths <= 1).all():
        return targets
    n = int(targets.items.max(initial=0)) + 1
    keys = np.unique(targets.rows * n + targets.items)
    offsets = np.searchsorted(keys, np.arange(len(targets) + 1) * n)
    return Queries(offsets.astype(np.int64), (keys % n).astype(np.int32))


def hits(ranking: Ranking, targets: Queries) -> Hits:
    """Find the targets in the lists; a target that a list repeats is a hit at its first place only."""
    truth = distinct(targets)
    if (truth.lengths == 1).all():
        found = ranking.items == truth.items[:, None]
    else:
        n = int(max(ranking.items.max(initial=0), truth.items.max(initial=0))) + 1
        keys = np.append(truth.rows * n + truth.items, np.iinfo(np.int64).max)
        listed = np.arange(len(ranking))[:, None] * n + ranking.items
        found = (keys[np.searchsorted(keys, listed)] == listed) & (ranking.items >= 0)
    rows, places = np.nonzero(found)
    items = ranking.items[rows, places]
    _, first = np.unique(rows * (int(items.max(initial=0)) + 1) + items, return_index=True)
    first.sort()
    return Hits(rows[first], places[first], items[first], truth.lengths)


def recall(found: Hits, k: int) -> Float64:
    """Return the share of each query's targets among its first k, [B]."""
    return found.total(k) / np.maximum(found.counts, 1)


def precision(found: Hits, k: int) -> Float64:
    """Return the share of targets among the k places, [B]; missing places count as misses."""
    return found.total(k) / k


def hit_rate(found: Hits, k: int) -> Float64:
    """Return 1 where a target is among the first k, else 0, [B]."""
    return np.minimum(found.total(k), 1.0)


def mrr(found: Hits, k: int) -> Float64:
    """Return 1 / place of the first target among the first k, 0 without one, [B]."""
    return found.total(k, (found.order == 1) / (found.places + 1))


def average_precision(found: Hits, k: int) -> Float64:
    """Return the precision at each hit among the first k, summed and divided by the number of targets, [B]."""
    return found.total(k, found.order / (found.places + 1)) / np.maximum(found.counts, 1)


def ndcg(found: Hits, k: int) -> Float64:
    """Return the normalised discounted cumulative gain of the first k, [B]."""
    best = np.minimum(found.counts, k)
    ideal = np.cumsum(discounts(np.arange(best.max(initial=1))))[np.maximum(best, 1) - 1]
    return np.asarray(found.total(k, discounts(found.places)) / ideal)


def discounts(places: Int64) -> Float64:
    """Return what a hit at a 0-based place is worth, 1 / log2(place + 2)."""
    return np.asarray(1.0 / np.log2(places + 2))


RANKING_MEASURES: dict[str, Callable[[Hits, int], Float64]] = {
    "recall": recall,
    "hit_rate": hit_rate,
    "ndcg": ndcg,
    "mrr": mrr,
    "map": average_precision,
    "precision": precision,
}


def per_query(ranking: Ranking, targets: Queries, ks: Sequence[int]) -> dict[str, Float32]:
    """Return every ranking measure at every k, one value a query, by name such as "ndcg@10"."""
    return accuracy(hits(ranking, targets), ks)


def accuracy(found: Hits, ks: Sequence[int]) -> dict[str, Float32]:
    """Return every ranking measure of these hits at every k, float32 [B] each."""
    return {
        f"{name}@{k}": measure(found, k).astype(np.float32) for name, measure in RANKING_MEASURES.items() for k in ks
    }
