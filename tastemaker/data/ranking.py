"""What a recommender answers: item numbers and scores, best first, with one rule for ties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_array

    from tastemaker.data.queries import Queries
    from tastemaker.types import Float32, Int32, Int64


@dataclass(frozen=True, slots=True)
class Ranking:
    """B ranked lists of k items.

    Attributes:
        items: int32 [B, k], best first, -1 where a list is shorter than k.
        scores: float32 [B, k], never rising along a row, -inf beside -1. Ties: the lower item number first.
    """

    items: Int32
    scores: Float32

    def __post_init__(self) -> None:
        if self.items.shape != self.scores.shape or self.items.ndim != 2:
            raise DataError(f"ranking: items {self.items.shape} and scores {self.scores.shape} must both be [B, k]")
        if np.isnan(self.scores).any():
            row = int(np.isnan(self.scores).any(axis=1).argmax())
            raise DataError(f"ranking: row {row} has a NaN score; a model must give a number or -inf")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def lengths(self) -> Int64:
        """Number of items in each list, int64 [B]."""
        return np.asarray((self.items >= 0).sum(axis=1))

    def cut(self, k: int) -> Ranking:
        """Return the best k of each list."""
        return Ranking(self.items[:, :k], self.scores[:, :k])

    def take(self, rows: slice | Int64 | Sequence[int]) -> Ranking:
        """Return the lists at `rows`."""
        return Ranking(self.items[rows], self.scores[rows])

    @classmethod
    def stack(cls, parts: Sequence[Ranking], k: int) -> Ranking:
        """Put rankings of the same k below each other."""
        if not parts:
            return cls(np.empty((0, k), np.int32), np.empty((0, k), np.float32))
        return cls(np.concatenate([part.items for part in parts]), np.concatenate([part.scores for part in parts]))


def sort_lists(items: Int32, scores: Float32, k: int) -> Ranking:
    """Sort [B, m] scored items into a ranking of width k: best first, ties by number, -inf and -1 at the end."""
    padding = (items < 0) | np.isneginf(scores)
    items = np.where(padding, -1, items).astype(np.int32)
    scores = np.where(padding, -np.inf, scores).astype(np.float32)
    order = np.lexsort((np.where(padding, np.iinfo(np.int32).max, items), -scores), axis=1)[:, :k]
    items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
    return _pad(items, scores, k)


def top_k(scores: Float32, k: int) -> Ranking:
    """Return the k best items of dense scores [B, n]; -inf means no opinion and is never listed.

    `argpartition` alone would pick any of several equal scores at the border; here the lowest numbers win.

    Raises:
        DataError: a score is NaN.
    """
    if np.isnan(scores).any():
        row = int(np.isnan(scores).any(axis=1).argmax())
        raise DataError(f"scores: row {row} has a NaN; a model must give a number or -inf")
    n = scores.shape[1]
    if k >= n:
        items = np.broadcast_to(np.arange(n, dtype=np.int32), scores.shape)
        return sort_lists(items, scores, k)
    if not len(scores):
        return Ranking.stack([], k)
    items = np.argpartition(scores, n - k, axis=1)[:, n - k :].astype(np.int32)
    picked = np.take_along_axis(scores, items, 1)
    border = picked.min(axis=1)
    tied = ((scores >= border[:, None]).sum(axis=1) > k) & ~np.isneginf(border)
    for line in np.flatnonzero(tied):
        above = np.flatnonzero(scores[line] > border[line])
        equal = np.flatnonzero(scores[line] == border[line])[: k - len(above)]
        items[line] = np.concatenate([above, equal])
        picked[line] = scores[line, items[line]]
    return sort_lists(items, picked, k)


def top_k_sparse(scores: csr_array, k: int, *, exclude: Queries | None = None) -> Ranking:
    """Return the k best items of sparse scores [B, n]; an entry that is not stored means no opinion.

    Args:
        scores: sparse float32 [B, n].
        k: length of the lists.
        exclude: items that are not listed, one history a row.

    Raises:
        DataError: a stored score is NaN.
    """
    size, n = scores.shape
    if np.isnan(scores.data).any():
        raise DataError("scores: a stored score is NaN; a model must give a number or leave the entry out")
    counts = np.full(size, k) if exclude is None else k + exclude.lengths
    at = largest(scores.indptr.astype(np.int64), scores.data, counts)
    rows, found, given = np.searchsorted(scores.indptr, at, side="right") - 1, scores.indices[at], scores.data[at]
    keep = ~np.isneginf(given)
    if exclude is not None:
        keep &= ~np.isin(rows * n + found, exclude.rows * n + exclude.items)
    rows, found, given = rows[keep], found[keep], given[keep]
    order = np.lexsort((found, -given, rows))
    rows, found, given = rows[order], found[order], given[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, np.arange(size))[rows]
    listed = places < k
    items = np.full((size, k), -1, dtype=np.int32)
    values = np.full((size, k), -np.inf, dtype=np.float32)
    items[rows[listed], places[listed]] = found[listed]
    values[rows[listed], places[listed]] = given[listed]
    return Ranking(items, values)


def largest(offsets: Int64, data: Float32, counts: Int64) -> Int64:
    """Return where in `data` the `counts[r]` largest entries of each row r are, and all that tie with the last of them.

    Args:
        offsets: [rows + 1]; row r is `data[offsets[r]:offsets[r + 1]]`, as in a CSR matrix.
        data: the entries.
        counts: entries wanted of each row, at least 1; shorter rows are returned whole.
    """
    found = [np.empty(0, dtype=np.int64)]
    bounds = offsets.tolist()
    for start, stop, count in zip(bounds[:-1], bounds[1:], counts.tolist(), strict=True):
        given = data[start:stop]
        border = stop - start - count
        if border > 0:
            ordered = given.copy()
            ordered.partition(border)
            found.append((given >= ordered[border]).nonzero()[0] + start)
        elif stop > start:
            found.append(np.arange(start, stop))
    return np.concatenate(found)


def _pad(items: Int32, scores: Float32, k: int) -> Ranking:
    missing = k - items.shape[1]
    if missing > 0:
        items = np.pad(items, ((0, 0), (0, missing)), constant_values=-1)
        scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf)
    return Ranking(items, scores)
