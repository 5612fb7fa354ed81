r"""Similarities between the rows of sparse matrices, and the neighbours that they give.

Everything is sparse: only rows that share a column have a similarity at all. `left` holds the rows that are asked,
`right` the rows that answer, both [rows, features]; the results are [left rows, right rows].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from tastemaker.data.ranking import largest
from tastemaker.errors import DataError
from tastemaker.recommender import chunks

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.types import Float32, Int32

BM25_K1 = 1.2
BM25_B = 0.75


def with_data(matrix: csr_array, data: Float32) -> csr_array:
    """Return a matrix that stores `data` where `matrix` stores its entries, float32."""
    return csr_array((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def indicator(matrix: csr_array) -> csr_array:
    """Return 1 wherever `matrix` stores an entry, stored zeros too."""
    return with_data(matrix, np.ones(matrix.nnz, dtype=np.float32))


def unit_rows(matrix: csr_array) -> csr_array:
    """Return the rows divided by their Euclidean length; a row of zeros stays one."""
    squares = np.bincount(_rows(matrix), matrix.data.astype(np.float64) ** 2, minlength=matrix.shape[0])
    scale = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
    return with_data(matrix, matrix.data * scale[_rows(matrix)])


def tf_idf(matrix: csr_array) -> csr_array:
    r"""Return $\sqrt{x_{rc}} \log(R / (1 + n_c))$ with R rows and $n_c$ entries in column c; never below 0."""
    return with_data(matrix, np.sqrt(matrix.data) * _inverse_frequency(matrix)[matrix.indices])


def bm25(matrix: csr_array) -> csr_array:
    r"""Return Okapi BM25 weights (Robertson and Walker, 1994): rows are documents, columns are terms.

    $x (k_1 + 1) / (k_1 (1 - b + b |r| / \overline{|r|}) + x) \cdot idf_c$ with $k_1$ = 1.2, b = 0.75.
    """
    sums = np.bincount(_rows(matrix), matrix.data, minlength=matrix.shape[0])
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
    products = csr_array(left @ right.T.tocsr())
    left_squares = csr_array(with_data(left, left.data**2) @ indicator(right).T.tocsr())
    right_squares = csr_array(indicator(left) @ with_data(right, right.data**2).T.tocsr())
    squares = csr_array(left_squares.multiply(right_squares))
    inverse = np.divide(1.0, np.sqrt(squares.data), out=np.zeros_like(squares.data), where=squares.data > 0)
    return csr_array(products.multiply(with_data(squares, inverse)))


def correlation(left: csr_array, right: csr_array) -> csr_array:
    r"""Return Pearson's correlation of 0/1 rows over all n columns, for rows that share at least one.

    $(n\,c - a\,b) / \sqrt{a (n - a)\, b (n - b)}$ with a and b entries in the rows and c shared ones (the phi
    coefficient). A row that stores every column, or none, correlates with nothing.
    """
    shared, n = cooccurrence(left, right), left.shape[1]
    sizes, others = np.diff(left.indptr).astype(np.float64), np.diff(right.indptr).astype(np.float64)
    a, b = sizes[_rows(shared)], others[shared.indices]
    spread = np.sqrt(a * (n - a) * b * (n - b))
    return with_data(shared, np.divide(n * shared.data - a * b, spread, out=np.zeros_like(spread), where=spread > 0))


def shrunk(similarities: csr_array, shared: csr_array, shrinkage: float) -> csr_array:
    """Return each similarity times c / (c + shrinkage), where `shared` stores c: little evidence counts less."""
    return csr_array(similarities.multiply(with_data(shared, shared.data / (shared.data + shrinkage))))


def without(similarities: csr_array, columns: Int32) -> csr_array:
    """Return the similarities with column `columns[r]` left out of row r; -1 leaves out nothing."""
    return _kept(similarities, similarities.indices != columns[_rows(similarities)])


def top_neighbours(similarities: csr_array, k: int) -> csr_array:
    """Return the k largest positive entries of each row, columns in order; of equal ones the lower column stays."""
    positive = _kept(similarities, similarities.data > 0)
    at = largest(positive.indptr, positive.data, np.full(positive.shape[0], k))
    rows = _rows(positive)[at]
    order = np.lexsort((positive.indices[at], -positive.data[at], rows))
    at, rows = at[order], rows[order]
    at = at[np.arange(len(at)) - np.searchsorted(rows, rows) < k]
    kept = _kept(positive, np.isin(np.arange(positive.nnz), at, assume_unique=True))
    kept.sort_indices()
    return kept


def top_text_neighbours(left: Float32, right: Float32, k: int) -> csr_array:
    """Return the k largest positive cosines of each row of `left` [m, d] with the rows of `right` [n, d], unit rows."""
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for rows in chunks(len(left), len(right)):
        block = left[rows] @ right.T
        at = np.argpartition(block, max(0, len(right) - k), axis=1)[:, -k:]
        found = np.take_along_axis(block, at, 1)
        line, place = np.nonzero(found > 0)
        parts.append((line + rows.start, at[line, place], found[line, place]))
    line, column, data = (np.concatenate(part) for part in zip(*parts, strict=True))
    return csr_array((data, (line, column)), shape=(len(left), len(right)))


def blend(similarities: csr_array, texts: csr_array, alpha: float) -> csr_array:
    """Return alpha * similarities + (1 - alpha) * texts."""
    return csr_array(np.float32(alpha) * similarities + np.float32(1 - alpha) * texts)


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
        raise DataError(f"half_life_days: {missing} of {len(train)} interactions have no timestamp; leave the setting out")
    days = (pl.col("timestamp") - train.log["timestamp"].max()) / 86_400
    return train.with_log(train.log.with_columns(value=(2.0 ** (days / half_life_days)).cast(pl.Float32))).ratings()


def contributions(table: csr_array, history: Int32, item: int, *, recency: float) -> Float32:
    """Return recency^age * table[i, item] of each history item i; a repeated item counts at its newest place."""
    ages = np.arange(len(history))[::-1]
    newest = np.array([known not in history[place + 1 :] for place, known in enumerate(history)], dtype=bool)
    column = table[history][:, [item]].toarray().ravel()
    return (column * recency**ages * newest).astype(np.float32)


def _rows(matrix: csr_array) -> Int32:
    """Return the row of each stored entry."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


def _kept(matrix: csr_array, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> csr_array:
    """Return the matrix with only the marked entries stored."""
    offsets = np.concatenate([[0], np.cumsum(keep)])[matrix.indptr].astype(np.int32)
    return csr_array((matrix.data[keep], matrix.indices[keep], offsets), shape=matrix.shape)


def _inverse_frequency(matrix: csr_array) -> Float32:
    """Return log(R / (1 + n_c)) of each column c with n_c entries among R rows, at least 0."""
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
    idf: Float32 = np.maximum(np.log(max(1, matrix.shape[0])) - np.log1p(counts), 0).astype(np.float32)
    return idf
