"""Ratings with their means, and predictions from neighbours: what the user-based and the item-based form share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.models.parts.matrices.similarity import sums_by, with_data
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scipy.sparse import csr_array

    from tastemaker.types import Bool, Float32, Int32, Int64

EQUAL = 1e-6
"""A rating this close to the user's mean counts as equal to it: what is left is rounding."""


@dataclass(frozen=True)
class RatingTable:
    """Ratings with their means; NaN is the mean of nothing.

    Attributes:
        values: the ratings, sparse float32 [n_users, n_items].
        weights: how much each rating counts (1, or less for an old one), as long as `values.data`.
    """

    values: csr_array
    weights: Float32

    @cached_property
    def users(self) -> Int32:
        """User of each stored rating."""
        return np.repeat(np.arange(self.values.shape[0], dtype=np.int32), np.diff(self.values.indptr))

    @cached_property
    def user_means(self) -> Float32:
        """Mean rating of each user, [n_users]."""
        return _means(self.users, self.values.data, self.values.shape[0])

    @cached_property
    def item_means(self) -> Float32:
        """Mean rating of each item, [n_items]."""
        return _means(self.values.indices, self.values.data, self.values.shape[1])

    @cached_property
    def mean(self) -> float:
        """Mean of all ratings."""
        return float(self.values.data.mean(dtype=np.float64))

    @cached_property
    def weighted(self) -> csr_array:
        """Ratings times their weights, sparse [n_users, n_items]."""
        return with_data(self.values, self.values.data * self.weights)

    @cached_property
    def centred(self) -> csr_array:
        """Ratings minus their user's mean, times their weights, sparse [n_users, n_items]."""
        return with_data(self.values, self.deviations * self.weights)

    @cached_property
    def deviations(self) -> Float32:
        """Ratings minus their user's mean, as long as `values.data`."""
        away = self.values.data - self.user_means[self.users]
        return np.where(np.abs(away) < EQUAL, 0, away).astype(np.float32)

    def clip(self, predictions: Float32) -> Float32:
        """Return the predictions limited to the range of the ratings."""
        return np.clip(predictions, self.values.data.min(), self.values.data.max()).astype(np.float32)


def first_known(*estimates: Float32) -> Float32:
    """Return, place by place, the first estimate that is not NaN."""
    result = estimates[0]
    for estimate in estimates[1:]:
        result = np.where(np.isnan(result), estimate, result).astype(np.float32)
    return result


def neighbour_means(
    similarity: Callable[[Int32], Float32],
    targets: Int32,
    pool: csr_array,
    rows: Int32,
    weights: Float32,
    ks: Sequence[int],
) -> tuple[Float32, Bool]:
    r"""Return similarity-weighted means over the k nearest neighbours, $\sum w v / \sum w$, for several k at once.

    Pair p asks about target `targets[p]`; its neighbours are the entries of row `rows[p]` of `pool` (those who rated
    the item, or what the user rated) with a similarity above 0 to the target, the most similar first, of equals the
    lower number first. The target itself is never its own neighbour.

    Args:
        similarity: dense similarities [c, n] of c given targets with everything.
        targets: [p] numbers of users (user-based) or items (item-based).
        pool: sparse; the columns are numbers like the targets, the values are what is averaged.
        rows: [p] row of `pool`.
        weights: factor on the similarity of each stored entry of `pool`, once the neighbours are chosen.
        ks: numbers of neighbours.

    Returns:
        Means [len(ks), p], 0 where there is no neighbour; and whether there is one.
    """
    means, known = np.zeros((len(ks), len(targets)), np.float32), np.zeros((len(ks), len(targets)), bool)
    order = np.argsort(targets, kind="stable")
    for part in chunks(len(targets), pool.shape[1]):
        pairs = order[part]
        asked, line = np.unique(targets[pairs], return_inverse=True)
        pair, at = _entries(pool.indptr.astype(np.int64), rows[pairs])
        similarities = similarity(asked)[line[pair], pool.indices[at]]  # one value for each pair and possible neighbour
        near = (similarities > 0) & (pool.indices[at] != targets[pairs][pair])
        pair, at, similarities = pair[near], at[near], similarities[near]
        nearest = np.lexsort((pool.indices[at], -similarities, pair))
        pair, at, similarities = pair[nearest], at[nearest], similarities[nearest]
        place = np.arange(len(pair)) - np.searchsorted(pair, pair)
        strength = similarities.astype(np.float64) * weights[at]
        for number, k in enumerate(ks):
            used = place < k
            total = sums_by(pair[used], strength[used], len(pairs))
            value = sums_by(pair[used], (strength * pool.data[at])[used], len(pairs))
            known[number, pairs] = total > 0
            means[number, pairs] = np.divide(value, total, out=np.zeros_like(value), where=total > 0)
    return means, known


def _entries(offsets: Int64, rows: Int32) -> tuple[Int64, Int64]:
    """Return (place in `rows`, place in the CSR arrays) of every entry of the given rows."""
    lengths = np.diff(offsets)[rows]
    pair = np.repeat(np.arange(len(rows)), lengths)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return pair, offsets[rows][pair] + within


def _means(rows: Int32, values: Float32, size: int) -> Float32:
    counts = np.bincount(rows, minlength=size)
    sums = sums_by(rows, values, size)
    means: Float32 = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0).astype(np.float32)
    return means
