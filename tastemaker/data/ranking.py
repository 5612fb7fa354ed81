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
    from tastemaker.types import Bool, Float32, Int32, Int64

GROUPS = 4
"""For k items, `top_k` cuts a row into so many times k groups, whose largest scores bound the k-th best one."""
BLOCK_BYTES = 4 * 2**20
"""Size of the scores that `top_k` works on at once, small enough to stay in a processor's cache."""
LOWEST = np.finfo(np.float32).min
LAST_ITEM = np.iinfo(np.int32).max


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
    return _listed(_keys(np.where(padding, -1, items), np.where(padding, np.float32(-np.inf), scores)), k)


def only(allowed: Bool, rows: int) -> Ranking:
    """Return the items that are allowed, [n], as candidates of `rows` queries, alike good and in number order.

    Where nothing is allowed, the lists are empty and one place wide.
    """
    numbers = np.flatnonzero(allowed).astype(np.int32)
    if not len(numbers):
        return Ranking(np.full((rows, 1), -1, np.int32), np.full((rows, 1), -np.inf, np.float32))
    scores = np.zeros(len(numbers), dtype=np.float32)
    return Ranking(np.broadcast_to(numbers, (rows, len(numbers))), np.broadcast_to(scores, (rows, len(numbers))))


def top_k(scores: Float32, k: int, *, exclude: Queries | None = None) -> Ranking:
    """Return the k best items of dense scores [B, n]; -inf means no opinion and is never listed.

    Args:
        scores: float32 [B, n]; stays unchanged.
        k: length of the lists.
        exclude: items that are not listed, one history a row.

    Raises:
        DataError: a score is NaN, of an item that is not excluded.
    """
    parts = []
    step = max(1, BLOCK_BYTES // (4 * max(1, scores.shape[1])))
    for start in range(0, len(scores), step):
        block = scores[start : start + step]
        if exclude is not None:
            hidden = exclude.take(slice(start, start + step))
            block = block.copy()
            block[hidden.rows, hidden.items] = -np.inf
        parts.append(_top_k(block, k, start=start))
    return Ranking.stack(parts, k)


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


def _top_k(scores: Float32, k: int, *, start: int) -> Ranking:
    """Return the k best items; only scores that reach a lower bound of the k-th best one are sorted.

    Raises:
        DataError: a score is NaN; `start` is the number of the first row.
    """
    size, n = scores.shape
    hopeful = scores >= np.maximum(_bounds(scores, k, start=start), LOWEST)[:, None]
    at, starts = _by_row(hopeful)
    crowded = np.flatnonzero(np.diff(starts) > 2 * GROUPS * k)
    if len(crowded):  # many equal scores
        for line in crowded:
            hopeful[line] = _k_best(scores[line], k)
        at, starts = _by_row(hopeful)
    rows = np.repeat(np.arange(size), np.diff(starts))
    keys = np.full((size, int(np.diff(starts).max())), NOTHING)
    keys[rows, np.arange(len(at)) - starts[rows]] = _keys(at - rows * n, scores.ravel()[at])
    return _listed(keys, k)


def _by_row(marked: Bool) -> tuple[Int64, Int64]:
    """Return the places of what is marked, counted over all rows, and where those of each row begin, [rows + 1]."""
    at = np.flatnonzero(marked)
    return at, np.searchsorted(at, np.arange(len(marked) + 1) * marked.shape[1])


def _bounds(scores: Float32, k: int, *, start: int) -> Float32:
    """Return a lower bound of the k-th largest score of each row, [B]: k of the largest ones of groups reach it.

    Raises:
        DataError: a score is NaN; the largest score of a group is NaN where any of them is, so few are looked at.
    """
    groups = GROUPS * k
    size, whole = scores.shape[1] // groups, scores.shape[1] // groups * groups
    if size < 2:
        _refuse_nan(scores, start)
        return np.full(len(scores), -np.inf, dtype=np.float32)
    largest_ones = scores[:, :whole].reshape(len(scores), size, groups).max(axis=1)
    _refuse_nan(largest_ones, start)
    _refuse_nan(scores[:, whole:], start)
    return np.asarray(np.partition(largest_ones, groups - k, axis=1)[:, groups - k])


def _refuse_nan(scores: Float32, start: int) -> None:
    """Raise DataError if a score is NaN, with its row; `start` is the number of the first one."""
    found = np.isnan(scores)
    if found.any():
        row = start + int(found.any(axis=1).argmax())
        raise DataError(f"scores: row {row} has a NaN; a model must give a number or -inf")


def _k_best(scores: Float32, k: int) -> Bool:
    """Say which scores of one row are the k best, [n]; of equal ones at the border the first are, and -inf never is."""
    border = np.partition(scores, -k)[-k]
    best = np.asarray(scores > border)
    if not np.isneginf(border):
        best[np.flatnonzero(scores == border)[: k - np.count_nonzero(best)]] = True
    return best


def _keys(items: Int32 | Int64, scores: Float32) -> Int64:
    """Return numbers, the larger the earlier an item is listed: the score above, the lower item number below.

    The bits of a float32 are in the order of its value, if those of negative values are turned over.
    """
    bits = _turned((scores.astype(np.float32) + np.float32(0)).view(np.int32))  # -0 becomes 0
    return np.asarray((bits.astype(np.int64) << 32) | (LAST_ITEM - items.astype(np.int64)))


def _listed(keys: Int64, k: int) -> Ranking:
    """Return the items and scores of the k largest keys of each row."""
    if keys.shape[1] < k:
        keys = np.pad(keys, ((0, 0), (0, k - keys.shape[1])), constant_values=NOTHING)
    best = np.sort(keys, axis=1)[:, : -k - 1 : -1]
    items = (LAST_ITEM - (best & 0xFFFF_FFFF)).astype(np.int32)
    return Ranking(items, _turned((best >> 32).astype(np.int32)).view(np.float32))


def _turned(bits: Int32) -> Int32:
    """Turn over the bits of negative floats, but for the sign; twice is as it was."""
    return np.asarray(bits ^ ((bits >> 31) & np.int32(LAST_ITEM)))


NOTHING = int(_keys(np.asarray([-1]), np.asarray([-np.inf], dtype=np.float32))[0])
"""The key of what fills short lists up: item -1 with the score -inf."""
