"""Packed queries and rankings against slow, obvious versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array

from tastemaker.data import Queries, Ranking, ranking, top_k
from tastemaker.data.ranking import top_k_sparse
from tastemaker.errors import DataError

N = 6
histories = st.lists(st.lists(st.integers(0, N - 1), max_size=7), max_size=5)
scores = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.integers(1, 9)), elements=st.sampled_from([-np.inf, -1, 0, 1, 2])
)


def pack(lists):
    """Queries with a text and a user number that name their row."""
    return Queries.from_lists(
        lists, texts=[f"t{n}" for n in range(len(lists))], users=np.arange(len(lists), dtype=np.int32)
    )


@given(histories, st.sampled_from([1.0, 0.5]))
def test_matrix_weighs_each_item_by_its_newest_place(lists, recency):
    slow = np.zeros((len(lists), N), dtype=np.float32)
    for row, history in enumerate(lists):
        for age, item in reversed(list(enumerate(reversed(history)))):
            slow[row, item] = recency**age
    fast = pack(lists).matrix(N, recency=recency)
    assert fast.dtype == np.float32
    assert (fast.toarray() == slow).all()
    assert fast.nnz == sum(len(set(history)) for history in lists)


@given(histories, st.integers(0, 8))
def test_newest_cuts_from_the_old_end(lists, length):
    cut = pack(lists).newest(length)
    assert [history.tolist() for history in cut] == [h[len(h) - min(length, len(h)) :] for h in lists]
    assert (cut.texts, len(cut)) == (tuple(f"t{n}" for n in range(len(lists))), len(lists))


@given(histories, st.data())
def test_take_by_slice_and_by_number(lists, data):
    queries = pack(lists)
    bound = st.none() | st.integers(-6, 6)
    part = slice(data.draw(bound), data.draw(bound), data.draw(st.sampled_from([None, 1, 2, -1])))
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6)) if lists else []
    for chosen, expected in ((part, list(range(len(lists)))[part]), (np.array(rows, dtype=np.int64), rows)):
        taken = queries.take(chosen)
        assert [history.tolist() for history in taken] == [lists[row] for row in expected]
        assert taken.texts == tuple(f"t{row}" for row in expected)
        assert taken.users.tolist() == expected


@given(histories)
def test_rows_and_ages_name_each_packed_item(lists):
    queries = pack(lists)
    slow = [(row, len(h) - 1 - place) for row, h in enumerate(lists) for place in range(len(h))]
    assert list(zip(queries.rows.tolist(), queries.ages.tolist(), strict=True)) == slow


@pytest.mark.parametrize(
    ("offsets", "items", "options", "message"),
    [
        ([0, 2], [1], {}, "offsets must rise from 0"),
        ([1, 1], [1], {}, "offsets must rise from 0"),
        ([0, 2, 1, 3], [1, 2, 3], {}, "offsets must rise from 0"),
        ([0, 1], [-1], {}, "must not be negative"),
        ([0, 1], [1], {"texts": ("a", "b")}, "2 texts for 1 queries"),
        ([0, 1], [1], {"users": np.zeros(3, np.int32)}, "3 users for 1 queries"),
    ],
)
def test_malformed_queries_are_refused(offsets, items, options, message):
    with pytest.raises(DataError, match=message):
        Queries(np.array(offsets), np.array(items, dtype=np.int32), **options)


def obvious(matrix, k, excluded=None):
    """Sort each row by falling score, then rising number; -inf is not listed."""
    items = np.full((len(matrix), k), -1, dtype=np.int32)
    values = np.full((len(matrix), k), -np.inf, dtype=np.float32)
    for row, given_scores in enumerate(matrix):
        skip = () if excluded is None else excluded[row]
        listed = [(-s, n) for n, s in enumerate(given_scores) if s > -np.inf and n not in skip]
        for place, (negative, number) in enumerate(sorted(listed)[:k]):
            items[row, place], values[row, place] = number, -negative
    return items, values


def equal(ranking, expected):
    return (ranking.items == expected[0]).all() and (ranking.scores == expected[1]).all()


@given(scores, st.integers(1, 11))
def test_top_k_gives_ties_to_the_lower_number(matrix, k):
    found = top_k(matrix, k)
    assert (found.items.shape, found.items.dtype) == ((len(matrix), k), np.int32)
    assert equal(found, obvious(matrix, k))


@pytest.mark.parametrize("n", [85, 86, 700])  # 40 groups of 2 and a rest, or of 17 and a rest
def test_top_k_of_a_wide_catalogue(n, monkeypatch):
    rng = np.random.default_rng(n)
    noise = rng.standard_normal((8, n)).astype(np.float32)
    rows = {
        "all different": noise,
        "few different": np.round(noise),
        "best ones last": np.sort(noise, axis=1),
        "best ones first": -np.sort(noise, axis=1),
        "all equal": np.full((8, n), -3, np.float32),
        "fewer than asked": np.where(rng.random((8, n)) < 5 / n, noise, -np.inf),
        "largest and smallest": rng.choice(
            np.float32([np.inf, 3.4e38, 1e-45, 0, -0.0, -1e-45, -3.4e38, -np.inf]), (8, n)
        ),
    }
    for name, matrix in rows.items():
        assert equal(top_k(matrix.astype(np.float32), 10), obvious(matrix, 10)), name
    mixed = np.concatenate(list(rows.values())).astype(np.float32)[rng.permutation(56)]
    assert equal(top_k(mixed, 10), obvious(mixed, 10))
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 5 * 4 * n)  # blocks of 5 rows
    before, hidden = mixed.copy(), [rng.choice(n, size=row % 30).tolist() for row in range(56)]
    assert equal(top_k(mixed, 10, exclude=Queries.from_lists(hidden)), obvious(mixed, 10, hidden))
    assert (mixed == before).all()


@given(scores, st.integers(1, 11), st.data())
def test_top_k_sparse_lists_stored_entries_only(matrix, k, data):
    stored = csr_array(np.where(np.isneginf(matrix), 0, matrix + 5))
    dense = np.where(np.isneginf(matrix), -np.inf, matrix + 5).astype(np.float32)
    assert equal(top_k_sparse(stored, k), obvious(dense, k))
    numbers = st.lists(st.integers(0, matrix.shape[1] - 1), max_size=5)
    seen = data.draw(st.lists(numbers, min_size=len(matrix), max_size=len(matrix)))
    assert equal(top_k_sparse(stored, k, exclude=Queries.from_lists(seen)), obvious(dense, k, seen))


def test_nan_is_refused_everywhere():
    bad = np.array([[0, 1], [np.nan, 1]], dtype=np.float32)
    with pytest.raises(DataError, match="row 1 has a NaN"):
        top_k(bad, 1)
    with pytest.raises(DataError, match="NaN"):
        top_k_sparse(csr_array(bad), 1)
    with pytest.raises(DataError, match="row 1 has a NaN"):
        Ranking(np.zeros((2, 2), np.int32), bad)


def test_rankings_cut_stack_and_take():
    ranking = top_k(np.array([[3, 1, 2], [-np.inf, -np.inf, 5]], dtype=np.float32), 3)
    assert ranking.lengths.tolist() == [3, 1]
    assert ranking.cut(2).items.tolist() == [[0, 2], [2, -1]]
    assert ranking.take([1]).items.tolist() == [[2, -1, -1]]
    assert Ranking.stack([ranking.take([0]), ranking.take([1])], 3).items.tolist() == ranking.items.tolist()
    assert Ranking.stack([], 3).items.shape == (0, 3)
    with pytest.raises(DataError, match="must both be"):
        Ranking(np.zeros((1, 2), np.int32), np.zeros((1, 3), np.float32))
