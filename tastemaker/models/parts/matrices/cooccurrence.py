"""Item vectors from co-occurrence: the factorised pointwise mutual information of items bought by the same shoppers.

Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", NIPS 2014: what word2vec learns slowly can
be computed at once. Networks that start from these vectors need far fewer epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from sklearn.utils.extmath import randomized_svd

if TYPE_CHECKING:
    from tastemaker.data.queries import Queries
    from tastemaker.types import Float32

WINDOW, DECAY = 10, 0.85
"""Largest distance of a counted pair in a history, and its weight for each step beyond the first."""
LEAST_VALUE = 1e-4
"""Singular values below this share of the largest are noise, and not divided by."""


def ordered_pairs(histories: Queries, n_items: int, *, window: int, decay: float) -> csr_array:
    """Count pairs (earlier, later) of each history, float32 [n, n]; a pair `gap` steps apart adds decay^(gap - 1)."""
    items, rows = histories.items, histories.rows
    total = csr_array((n_items, n_items), dtype=np.float32)
    for gap in range(1, min(window, int(histories.lengths.max(initial=0)) - 1) + 1):
        together = rows[gap:] == rows[:-gap]
        earlier, later = items[:-gap][together], items[gap:][together]
        weights = np.full(len(earlier), decay ** (gap - 1), dtype=np.float32)
        total = total + coo_array((weights, (earlier, later)), shape=(n_items, n_items)).tocsr()
    return csr_array(total)


def transition_table(
    histories: Queries,
    n_items: int,
    *,
    window: int = WINDOW,
    gap_decay: float = DECAY,
    backward: float = 0.5,
    row_power: float = 0.3,
    column_power: float = 0.15,
) -> csr_array:
    """Return discounted counts of what is bought after what, sparse float32 [n, n]; see `transitions`.

    Args:
        histories: oldest purchase first.
        n_items: size of the catalogue.
        window: largest distance of a counted pair in one history.
        gap_decay: weight of a pair for each step between its items beyond the first.
        backward: weight of the reverse direction.
        row_power: power of the row sum that divides a row; 1 = transition probabilities.
        column_power: power of the column sum that divides a column: the popularity discount.
    """
    counts = ordered_pairs(histories, n_items, window=window, decay=gap_decay)
    counts = csr_array(counts + backward * counts.T)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    left = np.power(rows, -row_power, out=np.zeros_like(rows), where=rows > 0)
    right = np.power(columns, -column_power, out=np.zeros_like(columns), where=columns > 0)
    return csr_array(diags_array(left) @ counts @ diags_array(right)).astype(np.float32)


def vectors(histories: Queries, n_items: int, dim: int, *, seed: int) -> Float32:
    """Return vectors of the items, [n, dim], of mean squared length 1; an item that occurs nowhere has zeros.

    With M = log(1 + C_ij * sum(C) / (C_i. C_.j)) over the pairs that occur, M = U S V^T, the vectors are U S^0.5.
    """
    matrix = _log_lift(histories, n_items)
    found = np.zeros((n_items, dim), dtype=np.float32)
    if matrix.nnz:
        left, values, _ = randomized_svd(matrix, min(dim, n_items), random_state=seed)
        found[:, : len(values)] = left * np.sqrt(values)
    return np.asarray(found / max(np.sqrt(np.square(found).sum(axis=1).mean()), 1e-12), dtype=np.float32)


def axes(histories: Queries, n_items: int, dim: int, *, seed: int) -> Float32:
    """Return V S^-0.5 of the same factorisation, [n, dim]: `placed` puts items of any counts into its space."""
    matrix = _log_lift(histories, n_items)
    found = np.zeros((n_items, dim), dtype=np.float32)
    if matrix.nnz:
        _, values, right = randomized_svd(matrix, min(dim, n_items), random_state=seed)
        kept = values > LEAST_VALUE * values[0]
        found[:, : len(values)][:, kept] = right.T[:, kept] / np.sqrt(values[kept])
    return found


def placed(histories: Queries, axes: Float32) -> Float32:
    """Return unit vectors of the items by these histories in the space of `axes`, [n, dim]; zeros for no pair.

    Folding in (Berry, Dumais and O'Brien, SIAM Review 1995): M V S^-0.5 is U S^0.5 where the histories are those that
    the axes were made from, and stays comparable where they are more or fewer.
    """
    found = np.asarray(_log_lift(histories, len(axes)) @ axes, dtype=np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0), dtype=np.float32)


def _log_lift(histories: Queries, n_items: int) -> csr_array:
    """Return log(1 + lift) of the pairs that occur, sparse float32 [n, n]."""
    counts = ordered_pairs(histories, n_items, window=WINDOW, decay=DECAY)
    if not counts.nnz:
        return counts
    pairs = coo_array(csr_array(counts + counts.T))
    sums = np.bincount(pairs.row, pairs.data, minlength=n_items)
    lift = pairs.data * sums.sum() / (sums[pairs.row] * sums[pairs.col])
    return csr_array((np.log1p(lift).astype(np.float32), (pairs.row, pairs.col)), shape=(n_items, n_items))
