"""Ranking measures that weigh each target by its price."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tastemaker.metrics.ranking import discounts, distinct
from tastemaker.metrics.statistics import Ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.queries import Queries
    from tastemaker.metrics.ranking import Hits
    from tastemaker.types import Float32, Float64, Int64


class Revenue(NamedTuple):
    """Revenue measures, or why there are none.

    Attributes:
        ratios: by name such as "revenue_ndcg@10"; empty where there are none.
        note: what was left out and why; "" where every target has a price.
    """

    ratios: dict[str, Ratio]
    note: str


def revenue(found: Hits, targets: Queries, prices: Float64 | None, ks: Sequence[int]) -> Revenue:
    """Return the revenue in the lists / the revenue of all targets, plain and discounted by place.

    revenue_recall@k = sum of the prices of hit targets / sum of the prices of targets; revenue_ndcg@k = sum of
    price / log2(place + 2) over hits / the same sum if every list named its targets first, the dearest on top. Both are
    ratios of sums over all queries. Targets without a price are left out and counted.

    Args:
        found: the hits.
        targets: the true items.
        prices: of the items, [n], NaN = unknown; or None.
        ks: list lengths.
    """
    if prices is None:
        return Revenue({}, "no revenue measures: no item has a price")
    truth, size = distinct(targets), len(targets)
    worth = prices[truth.items]
    unpriced = int(np.isnan(worth).sum())
    if not np.nansum(worth):
        return Revenue({}, "no revenue measures: no target has a price above 0")
    order = np.lexsort((-np.nan_to_num(worth), truth.rows))  # each query's dearest first, no price as 0
    rows, dearest = truth.rows, np.nan_to_num(worth)[order]
    best_places = np.arange(len(rows)) - truth.offsets[rows]
    earned = np.nan_to_num(prices[found.items])
    whole = _sums(rows, dearest, size)
    ratios: dict[str, Ratio] = {}
    for k in ks:
        hit = found.total(k, earned).astype(np.float32)
        discounted = found.total(k, earned * discounts(found.places)).astype(np.float32)
        first = best_places < k
        ideal = _sums(rows[first], dearest[first] * discounts(best_places[first]), size)
        ratios |= {f"revenue_recall@{k}": Ratio(hit, whole), f"revenue_ndcg@{k}": Ratio(discounted, ideal)}
    note = f"revenue: {unpriced:,} of {len(worth):,} targets have no price and are left out" if unpriced else ""
    return Revenue(ratios, note)


def _sums(rows: Int64, values: Float64, size: int) -> Float32:
    """Return the sum of the values of each row, float32 [size]."""
    return np.bincount(rows, values, minlength=size).astype(np.float32)
