"""Histories as tensors: nothing lost, nothing of another shopper, hardly any filling."""

from __future__ import annotations

import numpy as np

from tastemaker.data import Queries
from tastemaker.neural.batches import batch_of, by_length

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
