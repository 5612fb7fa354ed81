"""Ranking measures against hand-worked values, a slow obvious version, and the library ranx."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker import metrics
from tastemaker.data import Queries, Ranking
from tastemaker.testing import tiny_shop


def ranking_of(lists, k):
    items = np.full((len(lists), k), -1, dtype=np.int32)
    scores = np.full((len(lists), k), -np.inf, dtype=np.float32)
    for row, listed in enumerate(lists):
        items[row, : len(listed)] = listed
        scores[row, : len(listed)] = -np.arange(len(listed))
    return Ranking(items, scores)


def test_hand_worked_case():
    """Targets at ranks 2 and 5 of three targets, list of 5."""
    ranking = ranking_of([[9, 1, 8, 7, 2]], 5)
    values = metrics.per_query(ranking, Queries.from_lists([[1, 2, 3]]), (5,))
    assert values["recall@5"][0] == pytest.approx(2 / 3)
    assert values["precision@5"][0] == pytest.approx(2 / 5)
    assert values["hit_rate@5"][0] == 1
    assert values["mrr@5"][0] == pytest.approx(1 / 2)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert values["ndcg@5"][0] == pytest.approx((1 / math.log2(3) + 1 / math.log2(6)) / ideal)


def slow(listed, targets, k):
    listed, targets = listed[:k], set(targets)
    hits = [place for place, item in enumerate(listed) if item in targets]
    gain = sum(1 / math.log2(place + 2) for place in hits)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(targets)))) or 1.0
    return {
        "recall": len(hits) / max(1, len(targets)),
        "precision": len(hits) / k,
        "hit_rate": float(bool(hits)),
        "mrr": 1 / (hits[0] + 1) if hits else 0.0,
        "ndcg": gain / ideal,
    }


items = st.integers(0, 12)
cases = st.lists(
    st.tuples(st.lists(items, unique=True, max_size=8), st.lists(items, min_size=1, max_size=5)), min_size=1, max_size=6
)


@given(cases, st.integers(1, 8))
@settings(deadline=None)
def test_equal_to_a_slow_version(rows, k):
    ranking = ranking_of([listed for listed, _ in rows], 8)
    values = metrics.per_query(ranking, Queries.from_lists([targets for _, targets in rows]), (k,))
    for row, (listed, targets) in enumerate(rows):
        for name, value in slow(listed, targets, k).items():
            assert values[f"{name}@{k}"][row] == pytest.approx(value, abs=1e-6), name


def test_k_beyond_the_list_changes_nothing_but_precision():
    ranking = ranking_of([[3, 1]], 2)
    values = metrics.per_query(ranking, Queries.from_lists([[1]]), (2, 10, 10**12))
    assert values["recall@10"][0] == values["recall@2"][0] == 1
    assert values["ndcg@10"][0] == values[f"ndcg@{10**12}"][0] == pytest.approx(1 / math.log2(3))


@pytest.mark.filterwarnings("ignore")
def test_equal_to_ranx():
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(0)
    lists = [rng.permutation(30)[: rng.integers(1, 11)].tolist() for _ in range(40)]
    targets = [rng.permutation(30)[: rng.integers(1, 4)].tolist() for _ in range(40)]
    qrels = ranx.Qrels({f"q{q}": {f"d{i}": 1 for i in found} for q, found in enumerate(targets)})
    run = ranx.Run({f"q{q}": {f"d{i}": 100.0 - p for p, i in enumerate(found)} for q, found in enumerate(lists)})
    ours = metrics.per_query(ranking_of(lists, 10), Queries.from_lists(targets), (5, 10))
    theirs = ranx.evaluate(
        qrels, run, [f"{m}@{k}" for m in ("recall", "ndcg", "mrr", "precision", "hit_rate") for k in (5, 10)]
    )
    for name, value in theirs.items():
        assert ours[name].mean() == pytest.approx(value, abs=1e-6), name


def test_bootstrap_interval_holds_the_mean_and_shrinks():
    rng = np.random.default_rng(1)
    few, many = (rng.random(size).astype(np.float32) for size in (50, 5000))
    low, high = metrics.bootstrap_interval(few)
    assert low < few.mean() < high
    low2, high2 = metrics.bootstrap_interval(many)
    assert high2 - low2 < (high - low) / 5
    expected = 2 * 1.96 * many.std() / math.sqrt(len(many))
    assert high2 - low2 == pytest.approx(expected, rel=0.1)


def test_bootstrap_of_two_valued_measure_matches_the_binomial():
    values = np.repeat([0.0, 1.0], [900, 100]).astype(np.float32)
    low, high = metrics.bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.09 / 1000), rel=0.15)


def test_coverage_of_items_and_categories():
    data = tiny_shop()
    listed = np.array([[0, 4, -1], [4, 8, -1]], dtype=np.int32)
    assert metrics.coverage(listed, 40) == pytest.approx(3 / 40)
    assert metrics.category_coverage(listed, data.items) == pytest.approx(1 / 4)  # all three are soap


def test_rating_errors():
    predicted, true = np.array([1, 2, 5], np.float32), np.array([2, 2, 3], np.float32)
    assert metrics.mae(predicted, true) == pytest.approx(1.0)
    assert metrics.rmse(predicted, true) == pytest.approx(math.sqrt(5 / 3))
