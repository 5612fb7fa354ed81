"""Revenue-weighted measures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker import metrics
from tastemaker.data import Queries


def measure(ranking, targets, prices, ks):
    queries = Queries.from_lists(targets)
    known = None if prices is None else np.array(prices, dtype=np.float64)
    return metrics.revenue(metrics.hits(ranking, queries), queries, known, ks)


def test_by_hand(ranking_of):
    """Prices 10, 30, 5. One shopper bought 0 and 1, and sees 1 second: 30 of 40. The other bought 2 and sees it first.

    Recall: (30 + 5) / (40 + 5) = 7/9. Discounted: 30 / log2(3) + 5 of an ideal 30 + 10 / log2(3) + 5.
    """
    found = measure(ranking_of([[2, 1], [2, 0]]), [[0, 1], [2]], [10, 30, 5], (1, 2))
    values = {name: metrics.mean(ratio) for name, ratio in found.ratios.items()}
    assert values["revenue_recall@2"] == pytest.approx(7 / 9)
    assert values["revenue_ndcg@2"] == pytest.approx((30 / math.log2(3) + 5) / (30 + 10 / math.log2(3) + 5))
    assert values["revenue_recall@1"] == pytest.approx(5 / 45)
    assert values["revenue_ndcg@1"] == pytest.approx(5 / (30 + 5))  # one place holds one target: the dearest
    assert found.ratios["revenue_recall@2"].per_query() == pytest.approx([3 / 4, 1])
    assert not found.note


def test_targets_without_a_price_are_left_out_and_counted(ranking_of):
    found = measure(ranking_of([[0, 1], [0, 1]]), [[0, 1], [1]], [8, np.nan], (2,))
    assert metrics.mean(found.ratios["revenue_recall@2"]) == 1
    assert found.ratios["revenue_recall@2"].per_query() == pytest.approx([1, np.nan], nan_ok=True)
    assert found.note == "revenue: 2 of 3 targets have no price and are left out"


@pytest.mark.parametrize(
    ("prices", "reason"),
    [(None, "no item has a price"), ([0, 3], "no target has a price above 0"), ([np.nan, 3], "no target has a price")],
)
def test_no_prices_give_the_reason(ranking_of, prices, reason):
    found = measure(ranking_of([[0, 1]]), [[0]], prices, (2,))
    assert not found.ratios
    assert reason in found.note


@given(st.integers(0, 2**32), st.integers(1, 6))
@settings(deadline=None)
def test_equal_to_a_slow_version(ranking_of, seed, k):
    rng = np.random.default_rng(seed)
    prices = np.where(rng.random(9) < 0.2, np.nan, rng.integers(1, 20, 9))
    prices[0] = 3.0
    lists = [rng.permutation(9)[:5].tolist() for _ in range(4)]
    targets = [[0], *(rng.permutation(9)[: rng.integers(1, 4)].tolist() for _ in range(3))]
    earned = possible = gain = ideal = 0.0
    for listed, true in zip(lists, targets, strict=True):
        priced = [item for item in true if not np.isnan(prices[item])]
        possible += sum(prices[item] for item in priced)
        for place, item in enumerate(listed[:k]):
            if item in priced:
                earned += prices[item]
                gain += prices[item] / math.log2(place + 2)
        best = sorted((prices[item] for item in priced), reverse=True)[:k]
        ideal += sum(price / math.log2(place + 2) for place, price in enumerate(best))
    found = measure(ranking_of(lists), targets, prices, (k,)).ratios
    assert metrics.mean(found[f"revenue_recall@{k}"]) == pytest.approx(earned / possible, abs=1e-6)
    assert metrics.mean(found[f"revenue_ndcg@{k}"]) == pytest.approx(gain / ideal, abs=1e-6)


def test_equal_prices_give_plain_measures(ranking_of):
    """With one target and one price each, revenue NDCG is NDCG and revenue recall is recall."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(9)[:5].tolist() for _ in range(50)]
    targets = rng.integers(0, 9, (50, 1)).tolist()
    plain = metrics.per_query(ranking_of(lists), Queries.from_lists(targets), (3,))
    money = measure(ranking_of(lists), targets, [2.5] * 9, (3,)).ratios
    for name in ("recall", "ndcg"):
        assert metrics.mean(money[f"revenue_{name}@3"]) == pytest.approx(float(plain[f"{name}@3"].mean()), abs=1e-6)
