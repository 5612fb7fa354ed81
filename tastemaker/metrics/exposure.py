"""What all lists together show of the catalogue: one value, no query has one of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.metrics.catalogue import item_categories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.data.entities import Entities
    from tastemaker.metrics.catalogue import Catalogue
    from tastemaker.types import Int32, Int64

POINTS = 101
"""Most points of a curve."""


def exposure(items: Int32, catalogue: Catalogue, ks: Sequence[int]) -> dict[str, float]:
    """Return coverage, category coverage and Gini index at every k, by name such as "gini@10".

    Args:
        items: lists [B, width], -1 where a list is shorter.
        catalogue: the products; without categories there is no category coverage.
        ks: list lengths, rising.
    """
    shown = np.zeros(len(catalogue), dtype=np.int64)
    values: dict[str, float] = {}
    for start, k in pairwise((0, *ks)):
        shown += times_listed(items[:, start:k], len(catalogue))
        values[f"coverage@{k}"] = np.count_nonzero(shown) / len(catalogue)
        values[f"gini@{k}"] = gini(shown)
        if catalogue.categories is not None:
            seen = catalogue.categories[shown > 0]
            values[f"category_coverage@{k}"] = coverage(seen, len(catalogue.category_names))
    return values


def times_listed(items: Int32, n_items: int) -> Int64:
    """Return how often each item of the catalogue is listed, int64 [n]."""
    return np.bincount(items[items >= 0], minlength=n_items)


def coverage(items: Int32, n_items: int) -> float:
    """Return the share of the catalogue that occurs in any list; -1 is no item."""
    return float(np.count_nonzero(times_listed(items, n_items))) / max(1, n_items)


def category_coverage(items: Int32, catalogue: Entities) -> float | None:
    """Return recommended categories / all categories (arXiv 2403.02760, eq. 7); None where items have none.

    An item's category is its most specific one.
    """
    found = item_categories(catalogue)
    return None if found is None else coverage(found[0][items[items >= 0]], len(found[1]))


def gini(shown: Int64) -> float:
    """Return the Gini index of how often items are listed: 0 = all alike, near 1 = one item has all; NaN if none.

    Over all n items of the catalogue, listed or not: sum (2 i - n - 1) x_i / (n sum x_i), x rising, i from 1.
    """
    rising, n = np.sort(shown), len(shown)
    total = float(rising.sum())
    return float(((2 * np.arange(1, n + 1) - n - 1) @ rising) / (n * total)) if total else float("nan")


def lorenz(shown: Int64) -> list[list[float]]:
    """Return the Lorenz curve: [share of items, least listed first; share of all places they fill], at most 101 points.

    The diagonal is equal exposure. Empty where nothing is listed.
    """
    total = float(shown.sum())
    if not total:
        return []
    filled = np.concatenate([[0.0], np.cumsum(np.sort(shown)) / total])
    at = _spaced(len(shown) + 1)
    return [[float(place) / len(shown), float(filled[place])] for place in at]


def coverage_by_k(items: Int32, n_items: int) -> list[list[float]]:
    """Return [k, coverage@k] from 1 to the width of the lists, at most 101 points."""
    width = items.shape[1]
    first = np.full(n_items + 1, width, dtype=np.int64)  # the last is for -1, which is no item
    for place in range(width - 1, -1, -1):
        first[items[:, place]] = place
    covered = np.cumsum(np.bincount(first[:-1], minlength=width + 1)[:width]) / n_items
    return [[int(place) + 1, float(covered[place])] for place in _spaced(width)]


def _spaced(size: int) -> Int64:
    """Return at most 101 numbers from 0 to size - 1, the ends included."""
    return np.unique(np.linspace(0, size - 1, min(size, POINTS)).round().astype(np.int64))
