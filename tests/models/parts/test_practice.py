"""What re-rankers practise on: nothing that a question asks for is known in its round."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data import Queries
from tastemaker.data.dataset import Dataset
from tastemaker.errors import DataError
from tastemaker.models.collaborative.transitions import Transitions
from tastemaker.models.parts.matrices.cooccurrence import axes, placed, transition_table, vectors
from tastemaker.models.parts.reranking.practice import Knowledge, log_shares, practise, shortened
from tastemaker.testing import tiny_shop

SHOP = tiny_shop(users=80, seed=3)


def shop_of(histories):
    rows = [(f"u{user}", f"i{item}", at) for user, history in enumerate(histories) for at, item in enumerate(history)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return Dataset.from_frames(log, pl.DataFrame({"item_id": [f"i{item}" for item in range(12)]}))


def test_each_round_knows_what_came_before_it_and_no_more():
    """Oracle: histories cut by hand; the knowledge of a round equals what a shop without the rest would know."""
    known, practice = practise(SHOP, rounds=2, depth=10, max_length=5, dim=4, seed=0)
    whole = SHOP.queries()
    for by in (0, 1, 2):
        before = Queries.from_lists([history[: max(0, len(history) - by)] for history in whole])
        np.testing.assert_array_equal(known[by].table.toarray(), transition_table(before, SHOP.n_items).toarray())
        np.testing.assert_array_equal(known[by].counts, np.bincount(before.items, minlength=SHOP.n_items))
    for question in range(len(practice)):
        history = whole.history(int(practice.users[question]))
        end = len(history) - int(practice.rounds[question])
        assert practice.targets[question] == history[end]
        assert practice.targets[question] not in history[:end]
        np.testing.assert_array_equal(practice.histories.history(question), history[:end][-5:])
        assert not np.isin(practice.lists[question], history[:end]).any()


def test_lists_are_those_of_transitions_and_places_are_where_the_target_stands():
    known, practice = practise(SHOP, rounds=1, depth=8, max_length=99, dim=4, seed=0)
    earlier = shortened(SHOP.queries(), 1)
    past = SHOP.with_log(SHOP.log.filter(pl.int_range(pl.len()).over("user") < pl.len().over("user") - 1))
    model = Transitions().fit(past)
    expected = model.rank(practice.histories, 8)
    np.testing.assert_array_equal(practice.lists, expected.items)
    for row, place in enumerate(practice.places):
        where = np.flatnonzero(practice.lists[row] == practice.targets[row])
        assert where.tolist() == ([place] if place >= 0 else [])
    assert (practice.places >= 0).any()
    assert len(earlier) == SHOP.n_users
    shares = known[1].shares(practice.histories, practice.lists)
    np.testing.assert_allclose(shares, practice.shares, atol=1e-5)
    assert (shares.max(axis=1) <= 0).all()


def test_a_target_that_only_one_shopper_bought_with_another_is_not_retrieved():
    """1 and 2 were bought together once, and that is what is asked: the table must not know it."""
    shop = shop_of([[1, 2], [3, 4, 5], [3, 4, 5], [3, 4]])
    known, practice = practise(shop, rounds=1, depth=5, max_length=9, dim=3, seed=0)
    asked = int(np.flatnonzero(practice.users == 0)[0])
    assert practice.targets[asked] == 2
    assert practice.places[asked] == -1
    assert known[0].table[1, 2] > 0
    assert not known[1].table[1, :].nnz


def test_placed_vectors_are_the_factors_and_stay_in_one_space():
    histories = SHOP.queries()
    space = axes(histories, SHOP.n_items, 6, seed=0)
    factors = vectors(histories, SHOP.n_items, 6, seed=0)
    lengths = np.linalg.norm(factors, axis=1, keepdims=True)
    expected = np.divide(factors, lengths, out=np.zeros_like(factors), where=lengths > 0)
    again = placed(histories, space)
    np.testing.assert_allclose(np.abs((again * expected).sum(axis=1)), (lengths[:, 0] > 0).astype(float), atol=1e-3)
    less = placed(shortened(histories, 1), space)
    both = (less != 0).any(axis=1) & (again != 0).any(axis=1)
    assert (less[both] * again[both]).sum(axis=1).mean() > 0.5, "a few purchases more turn no vector round"


def test_log_shares():
    shares = log_shares(np.array([[2, 1, 0], [0, 0, 0]], np.float32))
    np.testing.assert_allclose(shares, [[0, np.log(0.5), -7], [-7, -7, -7]], atol=1e-5)


def test_nobody_with_two_purchases():
    with pytest.raises(DataError, match="no purchase to practise on"):
        practise(shop_of([[1], [2], [3, 3]]), rounds=2, depth=5, max_length=9, dim=3, seed=0)


def test_knowledge_scores_are_those_of_transitions():
    model = Transitions().fit(SHOP)
    known = Knowledge.of(SHOP.queries(), axes(SHOP.queries(), SHOP.n_items, 4, seed=0))
    queries = SHOP.queries().take([3, 1, 4])
    np.testing.assert_array_equal(known.scores(queries).toarray(), model.sparse_scores(queries).toarray())
