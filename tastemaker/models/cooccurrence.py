"""Item vectors from co-occurrence: the factorised pointwise mutual information of items bought by the same shoppers.

Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", NIPS 2014: what word2vec learns slowly can
be computed at once. Networks that start from these vectors need far fewer epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array, csr_array
from sklearn.utils.extmath import randomized_svd

if TYPE_CHECKING:
    from tastemaker.data.queries import Queries
    from tastemaker.types import Float32

WINDOW, DECAY = 10, 0.85
"""Largest distance of a counted pair in a history, and its weight for each step beyond the first."""


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


def vectors(histories: Queries, n_items: int, dim: int, *, seed: int) -> Float32:
    """Return vectors of the items, [n, dim], of mean squared length 1; an item that occurs nowhere has zeros.

    With M = log(1 + C_ij * sum(C) / (C_i. C_.j)) over the pairs that occur, M = U S V^T, the vectors are U S^0.5.
    """
    counts = ordered_pairs(histories, n_items, window=WINDOW, decay=DECAY)
    if not counts.nnz:
        return np.zeros((n_items, dim), dtype=np.float32)
    pairs = coo_array(csr_array(counts + counts.T))
    sums = np.bincount(pairs.row, pairs.data, minlength=n_items)
    lift = pairs.data * sums.sum() / (sums[pairs.row] * sums[pairs.col])
    matrix = csr_array((np.log1p(lift).astype(np.float32), (pairs.row, pairs.col)), shape=(n_items, n_items))
    left, values, _ = randomized_svd(matrix, min(dim, n_items), random_state=seed)
    found = np.zeros((n_items, dim), dtype=np.float32)
    found[:, : len(values)] = left * np.sqrt(values)
    return np.asarray(found / max(np.sqrt(np.square(found).sum(axis=1).mean()), 1e-12), dtype=np.float32)
