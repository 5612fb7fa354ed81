r"""Similarities between the rows of matrices, and the neighbours that they give.

`left` holds the rows that are asked, `right` the rows that answer, both [rows, features]; the results are [left rows,
right rows]. Sparse rows have a similarity only if they share a column. Dense rows are compared on a grid of numbers,
see `on_grid`, so that what is equal ties and an answer does not depend on what else is asked at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from tastemaker.data.ranking import largest, top_k
from tastemaker.errors import DataError
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tastemaker.data.dataset import Dataset
    from tastemaker.data.queries import Queries
    from tastemaker.types import Bool, Float32, Int32

    Float64 = NDArray[np.float64]

BM25_K1 = 1.2
BM25_B = 0.75
EQUAL = 1e-9
"""A spread below this share of a row's squares is rounding: the row's values are all equal."""
NOISE = 1e-6
"""A correlation closer to 0 than this is what rounding leaves of sums that cancel."""
GRID_BITS = 26
"""Binary places kept of a dense row of length 1: products then need 52, and double precision has 53."""


def with_data(matrix: csr_array, data: NDArray[np.floating[Any]]) -> csr_array:
    """Return a matrix that stores `data` where `matrix` stores its entries, float32."""
    return csr_array((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def indicator(matrix: csr_array) -> csr_array:
    """Return 1 wherever `matrix` stores an entry, stored zeros too."""
    return with_data(matrix, np.ones(matrix.nnz, dtype=np.float32))


def unit_rows(matrix: csr_array) -> csr_array:
    """Return the rows divided by their Euclidean length; a row of zeros stays one."""
    squares = sums_by(_rows(matrix), matrix.data.astype(np.float64) ** 2, matrix.shape[0])
    scale = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return with_data(matrix, matrix.data * scale[_rows(matrix)])


def tf_idf(matrix: csr_array) -> csr_array:
    r"""Return $\sqrt{x_{rc}} \log(R / (1 + n_c))$ with R rows and $n_c$ entries in column c; never below 0."""
    return with_data(matrix, np.sqrt(matrix.data) * _inverse_frequency(matrix)[matrix.indices])


def bm25(matrix: csr_array) -> csr_array:
    r"""Return Okapi BM25 weights (Robertson and Walker, 1994): rows are documents, columns are terms.

    $x (k_1 + 1) / (k_1 (1 - b + b |r| / \overline{|r|}) + x) \cdot idf_c$ with $k_1$ = 1.2, b = 0.75.
    """
    sums = sums_by(_rows(matrix), matrix.data, matrix.shape[0])
    norms = BM25_K1 * (1 - BM25_B + BM25_B * sums / max(sums.mean(), np.finfo(np.float64).tiny))
    saturated = matrix.data * (BM25_K1 + 1) / (norms[_rows(matrix)] + matrix.data)
    return with_data(matrix, saturated * _inverse_frequency(matrix)[matrix.indices])


def cooccurrence(left: csr_array, right: csr_array) -> csr_array:
    """Return the number of columns in which both rows store an entry."""
    return csr_array(indicator(left) @ indicator(right).T.tocsr())


def shared_cosine(left: csr_array, right: csr_array) -> csr_array:
    r"""Return the cosine over shared columns only: $\sum_s l_s r_s / \sqrt{\sum_s l_s^2 \sum_s r_s^2}$.

    On ratings minus each user's mean this is Pearson's correlation between users and the adjusted cosine between items
    (Sarwar et al., 2001). Where the denominator is zero nothing is stored.
    """
    common = csr_array(left @ right.T.tocsr())
    left_squares = csr_array(with_data(left, left.data**2) @ indicator(right).T.tocsr())
    right_squares = csr_array(indicator(left) @ with_data(right, right.data**2).T.tocsr())
    squares = csr_array(left_squares.multiply(right_squares))
    inverse = np.divide(1.0, np.sqrt(squares.data), out=np.zeros_like(squares.data), where=squares.data > 0)
    return _without_noise(csr_array(common.multiply(with_data(squares, inverse))))


def correlation(left: csr_array, right: csr_array) -> csr_array:
    r"""Return Pearson's correlation over all n columns, what is not stored being 0, for rows that share a column.

    $(l \cdot r - n \bar l \bar r) / \sqrt{(l \cdot l - n \bar l^2)(r \cdot r - n \bar r^2)}$; a row of equal values
    correlates with nothing.
    """
    dots, n = csr_array(left @ right.T.tocsr()), left.shape[1]
    (sums, spread), (other_sums, other_spread) = (_sums_and_spread(matrix) for matrix in (left, right))
    rows, columns = _rows(dots), dots.indices
    scale = np.sqrt(spread[rows] * other_spread[columns])
    common = dots.data - sums[rows] * other_sums[columns] / n
    return _without_noise(with_data(dots, np.divide(common, scale, out=np.zeros_like(common), where=scale > 0)))


def shrunk(similarities: csr_array, shared: csr_array, shrinkage: float) -> csr_array:
    """Return each similarity times c / (c + shrinkage), where `shared` stores c: little evidence counts less."""
    return csr_array(similarities.multiply(with_data(shared, shared.data / (shared.data + np.float32(shrinkage)))))


def without(similarities: csr_array, columns: Int32) -> csr_array:
    """Return the similarities with column `columns[r]` left out of row r; -1 leaves out nothing."""
    return _kept(similarities, similarities.indices != columns[_rows(similarities)])


def bought_again(histories: Queries, n_items: int) -> Float32:
    """Return the share of each item's buyers who bought it more than once, 0 without buyers, [n]."""
    pairs, times = np.unique(histories.rows * n_items + histories.items, return_counts=True)
    items = pairs % n_items
    buyers, again = np.bincount(items, minlength=n_items), np.bincount(items[times > 1], minlength=n_items)
    return (again / np.maximum(buyers, 1)).astype(np.float32)


def to_themselves(similarities: csr_array, columns: Int32, factors: Float32) -> csr_array:
    """Return the entries of column `columns[r]` in row r alone, times `factors[r]`; what is 0 then is not stored."""
    weights = np.where(similarities.indices == columns[_rows(similarities)], factors[_rows(similarities)], 0)
    return _kept(with_data(similarities, similarities.data * weights), weights > 0)


def top_neighbours(similarities: csr_array, k: int) -> csr_array:
    """Return the k largest positive entries of each row, columns in order; of equal ones the lower column stays."""
    positive = similarities if (similarities.data > 0).all() else _kept(similarities, similarities.data > 0)
    at = largest(positive.indptr.astype(np.int64), positive.data, np.full(positive.shape[0], k))
    rows = _rows(positive)[at]
    tied = np.flatnonzero((np.bincount(rows, minlength=positive.shape[0]) > k)[rows])  # more than k through ties
    tied = tied[np.lexsort((positive.indices[at[tied]], -positive.data[at[tied]], rows[tied]))]
    surplus = tied[np.arange(len(tied)) - np.searchsorted(rows[tied], rows[tied]) >= k]
    at, rows = np.delete(at, surplus), np.delete(rows, surplus)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=positive.shape[0]))]).astype(np.int32)
    kept = csr_array((positive.data[at], positive.indices[at], offsets), shape=positive.shape)
    kept.sort_indices()
    return kept


def on_grid(rows: Float32) -> Float32:
    """Return dense rows [n, d], each rounded to multiples of its length's power of two over 2^26.

    Products of two such rows, and all their partial sums, are exact in double precision: multiples of one unit, and by
    Cauchy and Schwarz at most 2^53 of them. BLAS adds in an order that depends on the place in the matrix and on the
    size of the batch; on exact sums that changes nothing. The rounding is finer than single precision's own.
    """
    wide = rows.astype(np.float64, order="C")
    places = GRID_BITS - np.frexp(np.linalg.norm(wide, axis=1, keepdims=True))[1]  # [n, 1]
    np.rint(np.ldexp(wide, places, out=wide), out=wide)
    np.ldexp(wide, -places, out=wide)
    return wide.astype(np.float32)  # exact: at most 24 bits remain


def products(left: Float32, right: Float32) -> Float32:
    """Return the dot products of rows from `on_grid`, [m, d] and [n, d], as dense float32 [m, n]; cosines of unit rows.

    Each is the exact sum rounded once, whatever the other rows are.
    """
    asked, found = left.astype(np.float64), np.empty((len(left), len(right)), dtype=np.float32)
    for rows in chunks(len(right), 2 * max(1, *left.shape)):  # double precision in blocks, so memory stays flat
        found[:, rows] = asked @ right[rows].astype(np.float64).T
    return found


def top_text_neighbours(left: Float32, right: Float32, k: int) -> csr_array:
    """Return the k largest positive cosines of each row of `left` [m, d] with the rows of `right` [n, d].

    Both are unit rows from `on_grid`. Of equal cosines the lower column stays.
    """
    k = min(k, len(right))
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for rows in chunks(len(left), len(right)):
        found = top_k(products(left[rows], right), k)
        line, place = np.nonzero(found.scores > 0)
        parts.append((line + rows.start, found.items[line, place].astype(np.int64), found.scores[line, place]))
    line, column, data = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_array((data, (line, column)), shape=(len(left), len(right)))


def blend(similarities: csr_array, texts: csr_array, alpha: float) -> csr_array:
    """Return alpha * similarities + (1 - alpha) * texts."""
    return csr_array(np.float32(alpha) * similarities + np.float32(1 - alpha) * texts)


def blend_all(similarities: Float32, left: Float32, right: Float32, alpha: float) -> Float32:
    """Return alpha * similarities + (1 - alpha) * the cosines of `left` with all of `right`, dense [m, n]."""
    weight = np.float32(alpha)
    return np.asarray(weight * similarities + (1 - weight) * products(left, right), dtype=np.float32)


def influence(train: Dataset, half_life_days: float | None) -> csr_array:
    """Return how much each interaction counts: 1, or half of it for every half-life before the newest one in `train`.

    Returns:
        Sparse float32 [n_users, n_items]; of a repeated pair the newest counts. Stored as `Dataset.ratings` is.

    Raises:
        DataError: a half-life is given and an interaction has no time.
    """
    if half_life_days is None:
        return indicator(train.matrix())
    if not train.has_timestamps:
        missing = train.log["timestamp"].null_count()
        raise DataError(
            f"half_life_days: {missing} of {len(train)} interactions have no timestamp; leave the setting out"
        )
    days = (pl.col("timestamp") - train.log["timestamp"].max()) / 86_400
    return train.with_log(train.log.with_columns(value=(2.0 ** (days / half_life_days)).cast(pl.Float32))).ratings()


def sums_by(groups: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]], size: int) -> Float64:
    """Return the sum of the values of each group, float64; also of no values, where numpy's bincount gives int64."""
    return np.bincount(groups, values, minlength=size).astype(np.float64)


def age_weights(history: Int32, recency: float) -> Float32:
    """Return recency^age of each history item, 0 for all but the newest place of a repeated item, [len(history)].

    These are the weights with which `Queries.matrix` fills a row.
    """
    newest = np.array([known not in history[place + 1 :] for place, known in enumerate(history)], dtype=bool)
    return np.asarray(recency ** np.arange(len(history))[::-1] * newest, dtype=np.float32)


def _rows(matrix: csr_array) -> Int32:
    """Return the row of each stored entry."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


def _sums_and_spread(matrix: csr_array) -> tuple[Float64, Float64]:
    """Return each row's sum, and its sum of squared deviations from its mean over all columns, at least 0."""
    rows, data = _rows(matrix), matrix.data.astype(np.float64)
    sums, squares = sums_by(rows, data, matrix.shape[0]), sums_by(rows, data**2, matrix.shape[0])
    spread = squares - sums**2 / matrix.shape[1]
    return sums, np.where(spread > EQUAL * squares, spread, 0.0)


def _without_noise(similarities: csr_array) -> csr_array:
    """Return the similarities without those that are 0 but for rounding: they must not make neighbours."""
    return _kept(similarities, np.abs(similarities.data) > NOISE)


def _kept(matrix: csr_array, keep: Bool) -> csr_array:
    """Return the matrix with only the marked entries stored."""
    offsets = np.concatenate([[0], np.cumsum(keep)])[matrix.indptr].astype(np.int32)
    return csr_array((matrix.data[keep], matrix.indices[keep], offsets), shape=matrix.shape)


def _inverse_frequency(matrix: csr_array) -> Float32:
    """Return log(R / (1 + n_c)) of each column c with n_c entries among R rows, at least 0."""
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
    idf: Float32 = np.maximum(np.log(max(1, matrix.shape[0])) - np.log1p(counts), 0).astype(np.float32)
    return idf
