"""Novelty, diversity, calibration, lift, serendipity: hand-worked values, and a slow obvious version of each."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker import metrics
from tastemaker.data import Queries
from tastemaker.metrics import Catalogue
from tastemaker.metrics.lists import ALPHA, BLOCK


def catalogue(*, popularity, users=100, categories=None, vectors=None, prices=None):
    counts = np.array(popularity, dtype=np.float32)
    return Catalogue(
        popularity=counts,
        buyers=counts,
        n_users=users,
        categories=None if categories is None else np.array(categories, dtype=np.int32),
        category_names=() if categories is None else tuple(map(str, range(max(categories) + 1))),
        vectors=None if vectors is None else np.array(vectors, dtype=np.float32),
        prices=prices,
    )


def measure(ranking, histories, known, ks):
    """Return every list measure by name, the lift as each query's own."""
    found = metrics.list_measures(ranking.items, Queries.from_lists(histories), known, ks)
    return found.per_query | {name: ratio.per_query() for name, ratio in found.ratios.items()}


def test_novelty_by_hand(ranking_of):
    """7 shoppers; items bought by 1, 3 and 0 of them: -log2(2/8) = 2, -log2(4/8) = 1, -log2(1/8) = 3 bits.

    The first two of the list: (2 + 1) / 2 = 1.5; all three: 6 / 3 = 2. An empty list has no novelty.
    """
    known = catalogue(popularity=[1, 3, 0], users=7)
    values = measure(ranking_of([[0, 1, 2], []]), [[0], [0]], known, (2, 5))
    assert values["novelty@2"] == pytest.approx([1.5, np.nan], nan_ok=True)
    assert values["novelty@5"] == pytest.approx([2, np.nan], nan_ok=True)


def test_diversity_by_hand(ranking_of):
    """Vectors (1, 0), (0, 1), (0.6, 0.8): cosines 0, 0.6 and 0.8.

    The first two: 1 - 0 = 1. All three: 1 - (0 + 0.6 + 0.8) / 3 = 8/15. Item 3 has no text and is in no pair; a list
    with fewer than two texts has no diversity; a list of one text twice has none to show: 0.
    """
    known = catalogue(popularity=[1] * 5, vectors=[[1, 0], [0, 1], [0.6, 0.8], [0, 0], [1, 0]])
    values = measure(ranking_of([[0, 1, 2], [0, 3, 1], [0, 3], [0, 4]], 3), [[0]] * 4, known, (2, 3))
    assert values["diversity@2"] == pytest.approx([1, np.nan, np.nan, 0], abs=1e-6, nan_ok=True)
    assert values["diversity@3"] == pytest.approx([8 / 15, 1, np.nan, 0], abs=1e-6, nan_ok=True)


def test_category_diversity_by_hand(ranking_of):
    """Categories a, a, b and none: of the pairs of the first three items, (a, b) and (a, b) differ: 2/3."""
    known = catalogue(popularity=[1] * 4, categories=[0, 0, 1, -1])
    values = measure(ranking_of([[0, 3, 1, 2], [3, 0]], 4), [[0], [0]], known, (3, 4))
    assert values["category_diversity@3"] == pytest.approx([0, np.nan], nan_ok=True)
    assert values["category_diversity@4"] == pytest.approx([2 / 3, np.nan], abs=1e-6, nan_ok=True)


def test_miscalibration_by_hand(ranking_of):
    """The history is half a, half b. A list of a, b: 0. A list of a, a: q = (1, 0), mixed with 1 % of p (.995, .005).

    KL = .5 ln(.5 / .995) + .5 ln(.5 / .005) = 1.9585. A list of c alone is as wrong as can be: ln(1 / .01).
    """
    known = catalogue(popularity=[1] * 5, categories=[0, 1, 0, 2, -1])
    lists = [[0, 1], [0, 2], [3, 4], [4], [0]]
    values = measure(ranking_of(lists, 2), [[0, 1], [0, 1, 4], [0, 1], [0], [4]], known, (2,))
    middle = 0.5 * math.log(0.5 / 0.995) + 0.5 * math.log(0.5 / 0.005)
    assert middle == pytest.approx(1.9585, abs=1e-4)
    expected = [0, middle, math.log(100), np.nan, np.nan]
    assert values["miscalibration@2"] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_popularity_lift_by_hand(ranking_of):
    """Popularity 4, 2, 1. Lists (0, 1) and (0, 0) have means 3 and 4, histories (1) and (2, 2): 2 and 1.

    Each for itself: 3/2 - 1 = 0.5 and 4/1 - 1 = 3. Together: (3 + 4) / (2 + 1) - 1 = 4/3. The third shopper has no
    history, the fourth no list, and the fifth a history of a product that nobody bought: they do not count.
    """
    known = catalogue(popularity=[4, 2, 1, 0])
    histories = Queries.from_lists([[1], [2, 2], [], [1], [3]])
    found = metrics.list_measures(ranking_of([[0, 1], [0, 0], [0, 1], [], [0, 1]]).items, histories, known, (2,))
    lift = found.ratios["popularity_lift@2"]
    assert lift.per_query() == pytest.approx([0.5, 3, np.nan, np.nan, np.nan], nan_ok=True)
    assert metrics.mean(lift) == pytest.approx(4 / 3)


def test_serendipity_by_hand(ranking_of):
    """Items 0 and 1 are the two best-sellers. Of the targets 0 and 2 the list has both, and only 2 is unexpected: 1/2.

    At k = 1 the one obvious item is 0, so the target 1 on top of the second list is no surprise at 2, but one at 1.
    """
    known = catalogue(popularity=[9, 8, 1, 0])
    found = metrics.hits(ranking_of([[0, 2], [1, 3]]), Queries.from_lists([[0, 2], [1]]))
    assert metrics.serendipity(found, known, 2) == pytest.approx([0.5, 0])
    assert metrics.serendipity(found, known, 1) == pytest.approx([0, 1])


def slow_novelty(listed, known, history):
    bits = [-math.log2((known.buyers[item] + 1) / (known.n_users + 1)) for item in listed]
    return np.mean(bits) if bits else np.nan


def slow_diversity(listed, known, history):
    vectors = [known.vectors[item] for item in listed if known.vectors[item].any()]
    return np.mean([1 - a @ b for a, b in combinations(vectors, 2)]) if len(vectors) > 1 else np.nan


def slow_category_diversity(listed, known, history):
    kinds = [known.categories[item] for item in listed if known.categories[item] >= 0]
    return np.mean([a != b for a, b in combinations(kinds, 2)]) if len(kinds) > 1 else np.nan


def slow_miscalibration(listed, known, history):
    own = [known.categories[item] for item in history if known.categories[item] >= 0]
    shown = [known.categories[item] for item in listed if known.categories[item] >= 0]
    if not own or not shown:
        return np.nan
    total = 0.0
    for kind in set(own):
        p, q = own.count(kind) / len(own), shown.count(kind) / len(shown)
        total += p * math.log(p / ((1 - ALPHA) * q + ALPHA * p))
    return total


def slow_popularity_lift(listed, known, history):
    own = [known.popularity[item] for item in history]
    return np.mean([known.popularity[i] for i in listed]) / np.mean(own) - 1 if listed and sum(own) else np.nan


SLOW = {
    "novelty": slow_novelty,
    "diversity": slow_diversity,
    "category_diversity": slow_category_diversity,
    "miscalibration": slow_miscalibration,
    "popularity_lift": slow_popularity_lift,
}


def random_catalogue(rng, n):
    vectors = rng.standard_normal((n, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(n) < 0.2] = 0
    categories = np.append(rng.integers(-1, 4, n - 1), 3)
    return catalogue(popularity=rng.integers(0, 5, n), users=30, categories=categories, vectors=vectors)


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_equal_to_slow_versions(ranking_of, seed):
    rng = np.random.default_rng(seed)
    known = random_catalogue(rng, 12)
    lists = [rng.permutation(12)[: rng.integers(0, 9)].tolist() for _ in range(5)]
    histories = [rng.integers(0, 12, rng.integers(0, 6)).tolist() for _ in range(5)]
    values = measure(ranking_of(lists, 8), histories, known, (1, 3, 8, 20))
    for k in (1, 3, 8, 20):
        for name, slow in SLOW.items():
            expected = [slow(listed[:k], known, own) for listed, own in zip(lists, histories, strict=True)]
            assert values[f"{name}@{k}"] == pytest.approx(expected, abs=1e-5, nan_ok=True), name


@given(st.integers(0, 2**32), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_serendipity_equals_a_slow_version(ranking_of, seed, k):
    rng = np.random.default_rng(seed)
    known = catalogue(popularity=rng.integers(0, 4, 10))
    lists = [rng.permutation(10)[:8].tolist() for _ in range(5)]
    targets = [rng.permutation(10)[: rng.integers(1, 4)].tolist() for _ in range(5)]
    obvious = sorted(range(10), key=lambda item: (-known.popularity[item], item))[:k]
    found = metrics.hits(ranking_of(lists), Queries.from_lists(targets))
    expected = [
        len((set(listed[:k]) & set(true)) - set(obvious)) / len(true)
        for listed, true in zip(lists, targets, strict=True)
    ]
    assert metrics.serendipity(found, known, k) == pytest.approx(expected)


def test_blocks_do_not_show():
    """More lists than a block holds give the values that each list has alone."""
    rng = np.random.default_rng(0)
    known = random_catalogue(rng, 12)
    items = rng.permuted(np.tile(np.arange(12, dtype=np.int32), (BLOCK + 3, 1)), axis=1)[:, :4]
    histories = Queries.from_lists(rng.integers(0, 12, (BLOCK + 3, 2)))
    every = metrics.list_measures(items, histories, known, (2, 4))
    late = slice(BLOCK - 1, BLOCK + 3)
    alone = metrics.list_measures(items[late], histories.take(late), known, (2, 4))
    for name, values in alone.per_query.items():
        assert np.array_equal(every.per_query[name][late], values, equal_nan=True), name
    for name, ratio in alone.ratios.items():
        assert np.array_equal(every.ratios[name].per_query()[late], ratio.per_query(), equal_nan=True), name
