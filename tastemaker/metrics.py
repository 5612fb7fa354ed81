r"""Ranking and rating measures: arrays in, one value a query out.

All ranking measures treat the targets of a query as a set and a list position as 0-based rank $r$:
recall@k = hits / targets; precision@k = hits / k; hit rate@k = any hit; MRR@k = 1 / (first hit's rank + 1);
NDCG@k = $\sum_{hits} 1/\log_2(r+2)$ over the same sum of an ideal list (Jarvelin and Kekalainen, 2002; binary gains).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.data.ranking import Ranking
    from tastemaker.types import Bool, Float32, Int32, Int64


def hits(ranking: Ranking, targets: Queries) -> Bool:
    """Return which listed items are targets of their query, bool [B, k]."""
    if (targets.lengths == 1).all():
        return np.asarray(ranking.items == targets.items[:, None])
    n = int(max(ranking.items.max(initial=0), targets.items.max(initial=0))) + 1
    keys = np.unique(targets.rows * n + targets.items)
    listed = np.arange(len(ranking))[:, None] * n + ranking.items
    places = np.minimum(np.searchsorted(keys, listed), len(keys) - 1)
    return np.asarray((keys[places] == listed) & (ranking.items >= 0))


def distinct_counts(targets: Queries) -> Int64:
    """Return the number of distinct targets of each query, int64 [B]."""
    if (targets.lengths <= 1).all():
        return targets.lengths
    n = int(targets.items.max(initial=0)) + 1
    return np.bincount(np.unique(targets.rows * n + targets.items) // n, minlength=len(targets))


def recall(found: Bool, counts: Int64, k: int) -> Float32:
    """Return the share of each query's targets among its first k, [B]."""
    return np.asarray(found[:, :k].sum(axis=1) / np.maximum(counts, 1), dtype=np.float32)


def precision(found: Bool, counts: Int64, k: int) -> Float32:
    """Return the share of targets among the k places, [B]; missing places count as misses."""
    return np.asarray(found[:, :k].sum(axis=1) / k, dtype=np.float32)


def hit_rate(found: Bool, counts: Int64, k: int) -> Float32:
    """Return 1 where a target is among the first k, else 0, [B]."""
    return np.asarray(found[:, :k].any(axis=1), dtype=np.float32)


def mrr(found: Bool, counts: Int64, k: int) -> Float32:
    """Return 1 / place of the first target among the first k, 0 without one, [B]."""
    first = found[:, :k].argmax(axis=1)
    return np.where(found[:, :k].any(axis=1), 1.0 / (first + 1), 0.0).astype(np.float32)


def ndcg(found: Bool, counts: Int64, k: int) -> Float32:
    """Return the normalised discounted cumulative gain of the first k, [B]."""
    width = min(k, found.shape[1])
    longest = max(width, min(k, int(counts.max(initial=1))))
    discounts = 1.0 / np.log2(np.arange(2, longest + 2))
    ideal = np.concatenate([[1.0], np.cumsum(discounts)])[np.minimum(counts, k)]
    ideal = np.where(counts > 0, ideal, 1.0)
    return np.asarray(found[:, :width] @ discounts[:width] / ideal, dtype=np.float32)


RANKING_MEASURES: dict[str, Callable[[Bool, Int64, int], Float32]] = {
    "recall": recall,
    "ndcg": ndcg,
    "mrr": mrr,
    "precision": precision,
    "hit_rate": hit_rate,
}


def per_query(ranking: Ranking, targets: Queries, ks: tuple[int, ...]) -> dict[str, Float32]:
    """Return every ranking measure at every k, one value a query, by name such as "ndcg@10"."""
    found, counts = hits(ranking, targets), distinct_counts(targets)
    return {f"{name}@{k}": measure(found, counts, k) for name, measure in RANKING_MEASURES.items() for k in ks}


def coverage(items: Int32, n_items: int) -> float:
    """Return the share of the catalogue that occurs in any list."""
    return len(np.unique(items[items >= 0])) / max(1, n_items)


def category_coverage(items: Int32, catalogue: Entities) -> float | None:
    """Return recommended categories / all categories (arXiv 2403.02760, eq. 7); None where items have none.

    An item's category is its most specific one.
    """
    if "categories" not in catalogue.frame.columns:
        return None
    column = catalogue.frame["categories"]
    leaves = column.list.last() if isinstance(column.dtype, pl.List) else column
    every = leaves.drop_nulls().n_unique()
    if not every:
        return None
    return float(leaves.gather(np.unique(items[items >= 0])).drop_nulls().n_unique()) / every


def mae(predicted: Float32, true: Float32) -> float:
    """Return the mean absolute error of predicted ratings."""
    return float(np.abs(predicted.astype(np.float64) - true).mean())


def rmse(predicted: Float32, true: Float32) -> float:
    """Return the root of the mean squared error of predicted ratings."""
    return float(np.sqrt(np.square(predicted.astype(np.float64) - true).mean()))


def bootstrap_interval(
    values: Float32, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over queries (Efron, 1979)."""
    if not len(values):
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < len(values) // 4:  # few distinct values: draw their counts at once
        drawn = rng.multinomial(len(values), counts / len(values), size=resamples)
        means = drawn @ distinct.astype(np.float64) / len(values)
    else:
        means = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(resamples)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
