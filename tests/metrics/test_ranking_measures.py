"""Ranking measures against hand-worked values, a slow obvious version, and the libraries ranx and ir-measures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker import metrics
from tastemaker.data import Queries, top_k

THEIR_NAMES = {"recall": "R", "precision": "P", "ndcg": "nDCG", "mrr": "RR", "map": "AP", "hit_rate": "Success"}


def test_hand_worked_case(ranking_of):
    """Targets 1, 2 and 3; the list of 5 has two of them, at places 2 and 5.

    recall 2/3, precision 2/5, first hit at place 2 so MRR 1/2; AP = (1/2 + 2/5) / 3 = 3/10;
    DCG = 1/log2(3) + 1/log2(6) over the ideal 1 + 1/log2(3) + 1/log2(4).
    """
    values = metrics.per_query(ranking_of([[9, 1, 8, 7, 2]]), Queries.from_lists([[1, 2, 3]]), (5,))
    assert values["recall@5"][0] == pytest.approx(2 / 3)
    assert values["precision@5"][0] == pytest.approx(2 / 5)
    assert values["hit_rate@5"][0] == 1
    assert values["mrr@5"][0] == pytest.approx(1 / 2)
    assert values["map@5"][0] == pytest.approx(3 / 10)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert values["ndcg@5"][0] == pytest.approx((1 / math.log2(3) + 1 / math.log2(6)) / ideal)


def slow(listed, targets, k):
    listed, targets = listed[:k], set(targets)
    hits = [place for place, item in enumerate(listed) if item in targets]
    gain = sum(1 / math.log2(place + 2) for place in hits)
    return {
        "recall": len(hits) / len(targets),
        "precision": len(hits) / k,
        "hit_rate": float(bool(hits)),
        "mrr": 1 / (hits[0] + 1) if hits else 0.0,
        "map": sum(number / (place + 1) for number, place in enumerate(hits, 1)) / len(targets),
        "ndcg": gain / sum(1 / math.log2(place + 2) for place in range(min(k, len(targets)))),
    }


items = st.integers(0, 12)
lists = st.lists(items, unique=True, max_size=8)
cases = st.lists(st.tuples(lists, st.lists(items, min_size=1, max_size=5)), min_size=1, max_size=6)


@given(cases, st.integers(1, 9))
@settings(deadline=None)
def test_equal_to_a_slow_version(ranking_of, rows, k):
    """Also with repeated targets, which count once, empty lists, and k beyond the lists."""
    ranking = ranking_of([listed for listed, _ in rows], 8)
    values = metrics.per_query(ranking, Queries.from_lists([targets for _, targets in rows]), (k,))
    for row, (listed, targets) in enumerate(rows):
        for name, value in slow(listed, targets, k).items():
            assert values[f"{name}@{k}"][row] == pytest.approx(value, abs=1e-6), name


def by_ranx(runs, truth, ks):
    ranx = pytest.importorskip("ranx")
    qrels, run = ranx.Qrels(truth), ranx.Run(runs)
    names = [f"{name}@{k}" for name in THEIR_NAMES for k in ks]
    ranx.evaluate(qrels, run, names)
    return {name: [run.scores[name][query] for query in truth] for name in names}


def by_ir_measures(runs, truth, ks):
    ir = pytest.importorskip("ir_measures")
    names = {f"{name}@{k}": ir.parse_measure(f"{theirs}@{k}") for name, theirs in THEIR_NAMES.items() for k in ks}
    found = {(one.query_id, one.measure): one.value for one in ir.iter_calc(names.values(), truth, runs)}
    return {name: [found[query, measure] for query in truth] for name, measure in names.items()}


def as_dicts(listed, targets):
    """Return runs and truth as both libraries read them; scores fall strictly, so that neither has a tie to break."""
    runs = {f"q{q}": {f"d{i}": 100.0 - place for place, i in enumerate(found)} for q, found in enumerate(listed)}
    return runs, {f"q{q}": {f"d{i}": 1 for i in found} for q, found in enumerate(targets)}


full = st.lists(items, unique=True, min_size=1, max_size=8)
answered = st.lists(st.tuples(full, st.lists(items, min_size=1, max_size=5, unique=True)), min_size=1, max_size=5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", [by_ranx, by_ir_measures])
@given(rows=answered)
@settings(deadline=None, max_examples=40)
def test_equal_to_the_libraries(ranking_of, library, rows):
    listed, targets = zip(*rows, strict=True)
    ours = metrics.per_query(ranking_of(listed, 8), Queries.from_lists(targets), (1, 3, 8))
    for name, values in library(*as_dicts(listed, targets), (1, 3, 8)).items():
        assert ours[name] == pytest.approx(values, abs=1e-6), name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", [by_ranx, by_ir_measures])
@given(seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=20)
def test_equal_to_the_libraries_on_tied_runs(library, seed):
    """With many equal scores our lists have the lower number first; that order is what is measured."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (6, 20)).astype(np.float32)
    targets = [rng.permutation(20)[: rng.integers(1, 4)].tolist() for _ in range(6)]
    ranking = top_k(scores, 10)
    by_rule = [sorted(range(20), key=lambda item, row=row: (-row[item], item))[:10] for row in scores.tolist()]
    ours = metrics.per_query(ranking, Queries.from_lists(targets), (5, 10))
    for name, values in library(*as_dicts(by_rule, targets), (5, 10)).items():
        assert ours[name] == pytest.approx(values, abs=1e-6), name


def test_the_order_of_equal_scores_is_ours_and_not_trec_evals():
    """All scores equal, target 2: third by our rule; trec_eval puts the highest id first, so it would say first."""
    ir = pytest.importorskip("ir_measures")
    ranking = top_k(np.zeros((1, 3), np.float32), 3)
    assert metrics.per_query(ranking, Queries.from_lists([[2]]), (3,))["mrr@3"][0] == pytest.approx(1 / 3)
    tied = {"q0": {"d0": 0.0, "d1": 0.0, "d2": 0.0}}
    assert ir.calc_aggregate([ir.parse_measure("RR")], {"q0": {"d2": 1}}, tied)[ir.RR] == 1


def test_k_beyond_the_list_changes_nothing_but_precision(ranking_of):
    values = metrics.per_query(ranking_of([[3, 1]]), Queries.from_lists([[1]]), (2, 10, 10**12))
    assert values["recall@10"][0] == values["recall@2"][0] == 1
    assert values["ndcg@10"][0] == values[f"ndcg@{10**12}"][0] == pytest.approx(1 / math.log2(3))
    assert values["precision@10"][0] == pytest.approx(1 / 10)


@pytest.mark.parametrize("targets", [[[5]], [[5, 7]]])
def test_a_repeated_target_counts_once(ranking_of, targets):
    """A list that names a target at every place must not look better than one that names it first."""
    values = metrics.per_query(ranking_of([[5, 5, 5]]), Queries.from_lists(targets), (3,))
    once = metrics.per_query(ranking_of([[5, 1, 2]]), Queries.from_lists(targets), (3,))
    for name, array in once.items():
        assert values[name] == pytest.approx(array), name


def test_padding_is_never_a_hit(ranking_of):
    values = metrics.per_query(ranking_of([[], [4]], 2), Queries.from_lists([[0, 1], [4]]), (2,))
    assert values["recall@2"].tolist() == [0, 1]


def test_rating_errors():
    predicted, true = np.array([1, 2, 5], np.float32), np.array([2, 2, 3], np.float32)
    assert metrics.mae(predicted, true) == pytest.approx(1.0)
    assert metrics.rmse(predicted, true) == pytest.approx(math.sqrt(5 / 3))
