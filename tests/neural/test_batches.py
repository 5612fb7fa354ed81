"""Histories as tensors: nothing lost, nothing of another shopper, hardly any filling."""

from __future__ import annotations

import numpy as np
import pytest

from tastemaker.data import Queries
from tastemaker.neural.batches import batch_of, by_length, windows

HISTORIES = Queries.from_lists([[5, 6, 7], [], [1], [9, 8, 7, 6, 5]])


def test_a_batch_holds_the_newest_items():
    batch = batch_of(HISTORIES, np.array([3, 0, 2]), 4)
    assert batch.items.tolist() == [[8, 7, 6, 5], [5, 6, 7, 0], [1, 0, 0, 0]]
    assert batch.lengths.tolist() == [4, 3, 1]
    assert batch.real.sum(1).tolist() == [4, 3, 1]
    assert batch.ages.tolist() == [[3, 2, 1, 0], [2, 1, 0, 0], [0, 0, 0, 0]]
    assert batch.items[batch.last].tolist() == [5, 7, 1]


def test_every_row_comes_once_among_rows_of_its_length():
    lengths = np.random.default_rng(0).integers(1, 30, 1000)
    groups = list(by_length(lengths, 64, np.random.default_rng(1)))
    assert sorted(np.concatenate(groups).tolist()) == list(range(1000))
    assert [len(group) for group in groups].count(64) == 15
    padded = sum(len(group) * lengths[group].max() for group in groups)
    assert padded < 1.1 * lengths.sum()
    again = list(by_length(lengths, 64, np.random.default_rng(1)))
    assert all(np.array_equal(one, other) for one, other in zip(groups, again, strict=True))


def test_long_histories_are_cut_from_the_newest_purchase_backwards():
    cut = windows(HISTORIES, 3, shared=1)
    assert [history.tolist() for history in cut] == [[5, 6, 7], [], [1], [9, 8, 7], [7, 6, 5]]
    cut = windows(Queries.from_lists([[1, 2, 3, 4], [5]], users=np.array([7, 3], np.int32)), 3, shared=1)
    assert [history.tolist() for history in cut] == [[1, 2], [2, 3, 4], [5]]
    assert cut.users.tolist() == [7, 7, 3]
    assert windows(HISTORIES, 5, shared=1) is HISTORIES


@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("most", [2, 3, 7])
def test_every_purchase_is_in_one_window_with_what_came_before_it(most, shared):
    rng = np.random.default_rng(most)
    whole = Queries.from_lists([rng.permutation(200)[:size] for size in rng.integers(0, 40, 50)])
    cut = windows(whole, most, shared=shared)
    assert cut.lengths.max() <= most
    assert (cut.lengths[cut.lengths < most] <= whole.lengths.max()).all()
    told = [tuple(one) for one in cut]
    for history in whole:
        taught = []  # what windows add to those before, the oldest window first
        while len(taught) < len(history):
            window = told.pop(0)
            assert tuple(taught[len(taught) - shared :]) == window[:shared] or not taught
            taught += window[shared if taught else 0 :]
        assert taught == history.tolist()
        if not len(history):
            assert told.pop(0) == ()
    assert not told
