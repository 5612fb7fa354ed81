"""Affinities against slow, obvious counts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tastemaker.data.dataset import Dataset
from tastemaker.testing import tiny_shop
from tastemaker.text.instructions.affinity import COLUMN_POWER, RECENCY, ROW_POWER, Affinity


@pytest.fixture(scope="module")
def shop():
    return tiny_shop()


def baskets(shop):
    return [set(history.tolist()) for history in shop.queries()]


def test_three_hops_by_hand():
    """a and b share x; only b has y: from a one reaches y over x. z is bought by nobody who has x."""
    log = pl.DataFrame({"user_id": ["a", "b", "b", "c"], "item_id": ["x", "x", "y", "z"]})
    shop = Dataset.from_frames(log)
    [(items, counts)] = Affinity(shop).three_hop([shop.items.numbers(["x"])])
    assert shop.items.ids(items) == ["y"]
    assert counts.tolist() == [1.0]


def test_three_hops_equal_counting_paths(shop):
    histories = [history for history in shop.queries() if len(history)]
    for history, (items, counts) in zip(histories, Affinity(shop).three_hop(histories), strict=True):
        mine = set(history.tolist())
        paths = {
            item: sum(len(mine & other) for other in baskets(shop) if item in other)
            for item in range(shop.n_items)
            if item not in mine
        }
        wanted = sorted((item for item in paths if paths[item]), key=lambda item: (-paths[item], item))
        assert items.tolist() == wanted
        assert counts.tolist() == [paths[item] for item in wanted]


def test_mined_equal_a_loop(shop):
    history = np.array([3, 7, 3, 1], np.int32)
    [(items, scores)] = Affinity(shop).mined([history])
    weight = {1: 1.0, 3: RECENCY, 7: RECENCY**2}
    popularity = np.maximum(np.bincount(np.concatenate([list(one) for one in baskets(shop)])), 1).astype(float)
    for item, score in zip(items.tolist(), scores.tolist(), strict=True):
        wanted = sum(
            weight[one] * popularity[one] ** -ROW_POWER * popularity[item] ** -COLUMN_POWER
            for other in baskets(shop)
            if item in other
            for one in other & weight.keys()
        )
        assert score == pytest.approx(wanted, rel=1e-5)
    assert not set(items.tolist()) & weight.keys()


def test_bought_with_counts_shoppers(shop):
    items, counts = Affinity(shop).bought_with(4)
    wanted = {item: sum({4, item} <= one for one in baskets(shop)) for item in range(shop.n_items) if item != 4}
    assert dict(zip(items.tolist(), counts.tolist(), strict=True)) == {k: v for k, v in wanted.items() if v}


def test_the_same_category_and_bought(shop):
    kinds = [row[-1] for row in shop.items.frame["categories"].to_list()]
    bought = set().union(*baskets(shop))
    for item in range(shop.n_items):
        wanted = [one for one in sorted(bought) if kinds[one] == kinds[item] and one != item]
        assert Affinity(shop).same_category(item).tolist() == wanted


def test_no_categories():
    shop = Dataset.from_frames(pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "y"]}))
    assert not len(Affinity(shop).same_category(0))


def test_popular_leaves_out_what_nobody_bought(shop):
    popular = Affinity(shop).popular
    assert set(popular.tolist()) == set().union(*baskets(shop))
    assert popular[0] == np.bincount(np.concatenate([list(one) for one in baskets(shop)])).argmax()
