"""top_k_sparse against the dense top_k: the same lists, the same tie rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from tastemaker.data.queries import Queries
from tastemaker.data.ranking import top_k, top_k_sparse
from tastemaker.errors import DataError

SCORES = arrays(
    np.float32,
    st.tuples(st.integers(0, 6), st.integers(1, 9)),
    elements=st.sampled_from([-np.inf, -2.0, 0.0, 1.0, 1.5, 3.0]),
)


def sparse(scores, rng):
    """Store what is an opinion, and some -inf too, with the columns of each row in any order."""
    stored = [rng.permutation(np.flatnonzero(~np.isneginf(row) | (rng.random(len(row)) < 0.3))) for row in scores]
    offsets = np.concatenate([[0], np.cumsum([len(columns) for columns in stored])]).astype(np.int32)
    columns = np.concatenate([*stored, np.empty(0)]).astype(np.int32)
    data = np.concatenate([*(row[columns] for row, columns in zip(scores, stored, strict=True)), np.empty(0)])
    return csr_array((data.astype(np.float32), columns, offsets), shape=scores.shape)


@given(scores=SCORES, k=st.integers(1, 11), seed=st.integers(0, 99), exclude=st.booleans())
@settings(max_examples=200, deadline=None)
def test_sparse_lists_are_the_dense_ones(scores, k, seed, exclude):
    rng = np.random.default_rng(seed)
    size, n = scores.shape
    seen = Queries.from_lists([rng.integers(0, n, rng.integers(0, n + 1)) for _ in range(size)]) if exclude else None
    dense = scores.copy()
    if seen is not None:
        dense[seen.rows, seen.items] = -np.inf
    found, wanted = top_k_sparse(sparse(scores, rng), k, exclude=seen), top_k(dense, k)
    np.testing.assert_array_equal(found.items, wanted.items)
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_nan_is_refused():
    with pytest.raises(DataError, match="NaN"):
        top_k_sparse(csr_array(np.array([[np.nan]], dtype=np.float32)), 1)
