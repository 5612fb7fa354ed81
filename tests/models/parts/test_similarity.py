"""Similarities against slow dictionary versions, and the neighbours that are kept."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from tastemaker import recommender
from tastemaker.data.dataset import Dataset
from tastemaker.data.queries import Queries
from tastemaker.errors import DataError
from tastemaker.models.parts.matrices import similarity

TABLES = st.integers(1, 6).flatmap(
    lambda width: st.tuples(
        *[
            arrays(np.float32, st.tuples(st.integers(1, 6), st.just(width)), elements=st.integers(0, 5).map(float))
            for _ in range(2)
        ]
    )
)


def rows_of(table):
    return [{column: float(value) for column, value in enumerate(row) if value} for row in table]


def slow_cosine(left, right, width):
    product = sum(left[column] * right[column] for column in left.keys() & right.keys())
    lengths = math.sqrt(sum(v * v for v in left.values())) * math.sqrt(sum(v * v for v in right.values()))
    return product / lengths if lengths else 0.0


def slow_shared_cosine(left, right, width):
    both = left.keys() & right.keys()
    product = sum(left[column] * right[column] for column in both)
    lengths = math.sqrt(sum(left[c] ** 2 for c in both)) * math.sqrt(sum(right[c] ** 2 for c in both))
    return product / lengths if lengths else 0.0


def slow_cooccurrence(left, right, width):
    return float(len(left.keys() & right.keys()))


def slow_correlation(left, right, width):
    if not left.keys() & right.keys():
        return 0.0  # never stored
    a, b = ([row.get(column, 0.0) for column in range(width)] for row in (left, right))
    x, y = ([value - sum(row) / width for value in row] for row in (a, b))
    spread = math.sqrt(sum(v * v for v in x)) * math.sqrt(sum(v * v for v in y))
    return sum(v * w for v, w in zip(x, y, strict=True)) / spread if spread > 1e-7 else 0.0


def fast_cosine(left, right):
    return similarity.unit_rows(left) @ similarity.unit_rows(right).T.tocsr()


@pytest.mark.parametrize(
    ("fast", "slow"),
    [
        (fast_cosine, slow_cosine),
        (similarity.shared_cosine, slow_shared_cosine),
        (similarity.cooccurrence, slow_cooccurrence),
        (similarity.correlation, slow_correlation),
    ],
)
@given(tables=TABLES)
@settings(max_examples=60, deadline=None)
def test_a_similarity_is_what_the_slow_version_says(fast, slow, tables):
    left, right = tables
    found = fast(csr_array(left), csr_array(right)).toarray()
    width = left.shape[1]
    wanted = [[slow(a, b, width) for b in rows_of(right)] for a in rows_of(left)]
    np.testing.assert_allclose(found, wanted, atol=2e-6)


@given(tables=TABLES, k=st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_the_largest_positive_entries_stay_and_ties_go_to_the_lower_column(tables, k):
    table = tables[0] - 2
    kept = similarity.top_neighbours(csr_array(table), k)
    assert (np.diff(kept.indptr) <= k).all()
    for row, values in enumerate(table):
        wanted = sorted((-value, column) for column, value in enumerate(values) if value > 0)[:k]
        found = kept[[row]].tocoo()
        assert sorted(zip(-found.data, found.col, strict=True)) == wanted


def test_tf_idf_and_bm25_by_hand():
    table = csr_array(np.array([[1, 0, 4], [1, 2, 0], [0, 0, 1], [0, 0, 1]], dtype=np.float32))
    idf = [math.log(4 / 3), math.log(4 / 2), 0.0]  # the last column is in three of four rows: log(4 / 4)
    np.testing.assert_allclose(
        similarity.tf_idf(table).toarray()[:2], [[idf[0], 0, 2 * idf[2]], [idf[0], math.sqrt(2) * idf[1], 0]], rtol=1e-6
    )
    norms = [1.2 * (0.25 + 0.75 * total / 2.5) for total in (5, 3)]  # row sums 5, 3, 1, 1: mean 2.5
    wanted = [1 * 2.2 / (norms[0] + 1) * idf[0], 2 * 2.2 / (norms[1] + 2) * idf[1]]
    weights = similarity.bm25(table).toarray()
    np.testing.assert_allclose([weights[0, 0], weights[1, 1]], wanted, rtol=1e-6)


def test_a_column_that_every_row_has_never_weighs_less_than_nothing():
    assert (similarity.tf_idf(csr_array(np.ones((3, 2), dtype=np.float32))).data == 0).all()


def test_shrinkage_counts_shared_columns():
    left = csr_array(np.array([[1.0, 1.0, 0.0]], dtype=np.float32))
    right = csr_array(np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]], dtype=np.float32))
    found = similarity.shrunk(left @ right.T.tocsr(), similarity.cooccurrence(left, right), 3.0).toarray()
    np.testing.assert_allclose(found, [[2 * 2 / 5, 1 * 1 / 4]])


def test_text_neighbours_are_the_nearest_with_a_positive_cosine():
    vectors = np.array([[1, 0], [0.8, 0.6], [-1, 0], [0, 0]], dtype=np.float32)
    found = similarity.top_text_neighbours(vectors, vectors, 2).toarray()
    np.testing.assert_allclose(found, [[1, 0.8, 0, 0], [0.8, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], rtol=1e-6)


WIDE = arrays(np.float32, st.tuples(st.integers(2, 5), st.integers(1, 20)), elements=st.floats(-999, 999, width=32))


@given(rows=WIDE, power=st.integers(-40, 40))
@settings(max_examples=60, deadline=None)
def test_products_on_the_grid_are_exact_in_any_order(rows, power):
    rows = similarity.on_grid(np.ldexp(rows, power))
    exact = [
        [sum(Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True)) for b in rows.tolist()]
        for a in rows.tolist()
    ]
    np.testing.assert_array_equal(similarity.products(rows, rows), np.array(exact, dtype=np.float64).astype(np.float32))
    backwards = np.ascontiguousarray(rows[:, ::-1])
    np.testing.assert_array_equal(similarity.products(backwards[:1], backwards), similarity.products(rows, rows)[:1])


def test_products_come_in_blocks(monkeypatch):
    rows = similarity.on_grid(np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32))
    whole = similarity.products(rows[:3], rows)
    monkeypatch.setattr(recommender, "CHUNK_BYTES", 256)
    np.testing.assert_array_equal(similarity.products(rows[:3], rows), whole)


def test_the_grid_is_finer_than_single_precision():
    rows = np.random.default_rng(0).standard_normal((50, 256)).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    assert (np.abs(similarity.on_grid(rows) - rows) <= 2.0**-26 * lengths).all()
    assert not similarity.on_grid(np.zeros((2, 3), np.float32)).any()


@pytest.mark.parametrize("n", [97, 301, 1001])
def test_of_equal_text_neighbours_the_lower_number_stays(n):
    rng = np.random.default_rng(n)
    distinct = rng.standard_normal((7, 96)).astype(np.float32)
    which = rng.integers(0, 7, n)
    vectors = similarity.on_grid(distinct / np.linalg.norm(distinct, axis=1, keepdims=True))[which]
    found = similarity.top_text_neighbours(vectors, vectors, 5)
    for row in range(n):
        assert sorted(found[[row]].indices) == np.flatnonzero(which == which[row])[:5].tolist()


def test_age_weights_are_those_of_the_query_matrix():
    history = np.array([3, 1, 3, 2, 1], dtype=np.int32)
    row = Queries.from_lists([history]).matrix(5, recency=0.5).toarray()[0]
    weights = similarity.age_weights(history, 0.5)
    np.testing.assert_array_equal(np.bincount(history, weights, minlength=5).astype(np.float32), row)


def test_an_interaction_counts_half_after_a_half_life():
    day = 86_400
    log = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"], "timestamp": [0, 10 * day, 5 * day]})
    found = similarity.influence(Dataset.from_frames(log), 5.0).toarray()
    np.testing.assert_allclose(found, [[0.25, 1.0], [0.5, 0.0]])


def test_a_half_life_without_times_is_refused():
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}))
    with pytest.raises(DataError, match="1 of 1 interactions have no timestamp"):
        similarity.influence(data, 5.0)
