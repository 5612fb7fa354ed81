"""Intervals, tests and corrections against theory, scipy, exact enumeration and hand-worked values."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tastemaker import metrics
from tastemaker.errors import DataError
from tastemaker.metrics import Ratio, statistics


def sample(seed, size):
    return np.random.default_rng(seed).random(size).astype(np.float32)


def test_interval_is_that_of_the_normal_approximation():
    values = sample(1, 5000)
    low, high = metrics.bootstrap_interval(values)
    half = 1.96 * float(values.std()) / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=half / 5)
    assert high == pytest.approx(values.mean() + half, abs=half / 5)


def test_interval_holds_the_mean_and_shrinks():
    few, many = sample(1, 50), sample(2, 5000)
    (low, high), (low2, high2) = metrics.bootstrap_interval(few), metrics.bootstrap_interval(many)
    assert low < few.mean() < high
    assert high2 - low2 < (high - low) / 5


def test_interval_of_a_two_valued_measure_matches_the_binomial():
    values = np.repeat([0.0, 1.0], [900, 100]).astype(np.float32)
    low, high = metrics.bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.09 / 1000), rel=0.15)


def test_coverage_of_the_interval():
    """Of 200 samples of 100 exponential values, the 95 % interval of the mean holds the true mean in most."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        low, high = metrics.bootstrap_interval(rng.exponential(size=100).astype(np.float32), resamples=400)
        held += low < 1 < high
    assert 0.87 <= held / 200 <= 0.98


def test_each_measure_has_the_interval_it_has_alone():
    """Shared resamples change nothing: one seed, one set, whatever else is measured."""
    values = {"a": sample(1, 300), "b": sample(2, 300), "c": Ratio(sample(3, 300), 1 + sample(4, 300))}
    together = metrics.intervals(values, seed=7)
    for name, array in values.items():
        assert together[name] == pytest.approx(metrics.bootstrap_interval(array, seed=7), rel=1e-5)
    assert together["a"] != metrics.intervals(values, seed=8)["a"]


def test_blocks_of_resamples_do_not_show(monkeypatch):
    values = {"a": sample(1, 300)}
    whole = metrics.intervals(values)
    monkeypatch.setattr(statistics, "BLOCK_BYTES", 4 * 300 * 7)  # 7 resamples at a time
    assert metrics.intervals(values)["a"] == pytest.approx(whole["a"], rel=1e-6)


def test_equal_to_resampling_one_by_one():
    """The product of weights and values against drawing rows, with values that are missing and a ratio."""
    size = 40
    values = np.where(np.arange(size) % 5 == 0, np.nan, sample(1, size)).astype(np.float32)
    ratio = Ratio(sample(2, size), np.where(np.arange(size) % 3 == 0, 0, sample(3, size)).astype(np.float32))
    rng = np.random.default_rng(5)
    means, shares = [], []
    for _ in range(1000):
        rows = rng.integers(0, size, size, dtype=np.int32)
        means.append(np.nanmean(values[rows]))
        shares.append(ratio.numerators[rows].sum() / ratio.denominators[rows].sum())
    found = metrics.intervals({"values": values, "ratio": ratio}, seed=5)
    assert found["values"] == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), rel=1e-5)
    assert found["ratio"] == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), rel=1e-5)


def test_too_few_values_have_no_interval():
    nothing = np.full(5, np.nan, np.float32)
    one = np.array([np.nan, 2, np.nan], np.float32)
    for values in (nothing, one, np.empty(0, np.float32)):
        assert np.isnan(metrics.bootstrap_interval(values)).all()
    assert np.isnan(metrics.mean(nothing))
    assert metrics.mean(one) == 2
    two = metrics.bootstrap_interval(np.array([1, np.nan, 3], np.float32))  # some resamples draw neither
    assert two == pytest.approx((1, 3))


def test_measures_of_different_queries_are_refused():
    with pytest.raises(DataError, match=r"different numbers of queries: \{'a': 3, 'b': 4\}"):
        metrics.intervals({"a": sample(0, 3), "b": sample(0, 4)})
    assert metrics.intervals({}) == {}


@given(st.integers(0, 2**32), st.integers(200, 400), st.floats(-0.1, 0.1))
@settings(deadline=None, max_examples=30)
def test_many_pairs_get_scipys_t_test(seed, size, shift):
    rng = np.random.default_rng(seed)
    a, b = rng.random(size).astype(np.float32), (rng.random(size) + shift).astype(np.float32)
    found, theirs = metrics.paired_test(a, b), stats.ttest_rel(a.astype(np.float64), b.astype(np.float64))
    interval = theirs.confidence_interval(0.95)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6)
    assert found.difference == pytest.approx(float(a.mean() - b.mean()), abs=1e-6)
    assert (found.low <= 0 <= found.high) == (found.p >= 0.05)


def exact_p(differences):
    """The share of all sign flips whose sum is at least as far from 0."""
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)


@given(st.lists(st.integers(-4, 4).map(float), min_size=6, max_size=6).filter(any))
@settings(deadline=None, max_examples=20)
def test_few_pairs_get_the_randomisation_test(values):
    """9,999 random flips against all 64: equal but for chance (4 standard errors of a share, and the +1)."""
    differences = np.array(values)
    found = metrics.paired_test(differences.astype(np.float32), np.zeros(6, np.float32))
    assert found.p == pytest.approx(exact_p(differences), abs=0.021)


def test_randomisation_by_hand():
    """Six differences of 1: only all signs alike are as extreme, 2 of 64 flips: 1/32."""
    found = metrics.paired_test(np.ones(6, np.float32), np.zeros(6, np.float32))
    assert found.p == pytest.approx(1 / 32, abs=0.007)
    assert (found.difference, found.low, found.high) == (1, 1, 1)
    assert metrics.paired_test(np.zeros(6, np.float32), np.ones(6, np.float32)).p == found.p  # two-sided


def test_the_seed_decides_the_flips_and_the_resamples():
    a, b = sample(1, 30), sample(2, 30)
    assert metrics.paired_test(a, b, seed=3) == metrics.paired_test(a, b, seed=3)
    first, second = (metrics.paired_test(a, b, seed=seed) for seed in (3, 4))
    assert first.p != second.p
    assert first.low != second.low


def test_models_that_are_alike_are_seldom_found_different():
    """Under the null, p is below 0.05 about one time in twenty, on both sides of the border between the tests."""
    rng = np.random.default_rng(0)
    for size in (30, 250):
        pairs = rng.exponential(size=(300, 2, size)).astype(np.float32)
        share = np.mean([metrics.paired_test(a, b).p < 0.05 for a, b in pairs])
        assert 0.01 <= share <= 0.1, size


@pytest.mark.parametrize("size", [1, 50, 500])
def test_identical_models_do_not_differ(size):
    values = sample(0, size)
    assert metrics.paired_test(values, values.copy()) == metrics.PairedTest(0.0, 0.0, 0.0, 1.0)


def test_a_constant_difference_is_certain():
    values = np.linspace(0, 1, 256, dtype=np.float32)
    assert metrics.paired_test(values + 1, values).p < 1e-100


def test_pairs_with_a_missing_value_are_left_out():
    a, b = sample(1, 300), sample(2, 300)
    a[:20] = np.nan
    assert metrics.paired_test(a, b) == metrics.paired_test(a[20:], b[20:])
    assert np.isnan(metrics.paired_test(a[:20], b[:20]).p)
    with pytest.raises(DataError, match="both models must answer the same queries"):
        metrics.paired_test(a, b[:5])


def test_holm_by_hand():
    """Sorted .01, .02, .03, .04 times 4, 3, 2, 1 = .04, .06, .06, .04; never falling: .04, .06, .06, .06."""
    assert metrics.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert metrics.holm([0.5, 0.9]) == [1, 1]
    assert metrics.holm([]) == []


def test_holm_counts_only_tests_that_were_made():
    adjusted = metrics.holm([0.02, float("nan"), 0.5])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == 0.5


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_helps(ps):
    adjusted = metrics.holm(ps)
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))
    assert [adjusted[place] for place in np.argsort(ps, kind="stable")] == sorted(adjusted)


def test_spread_over_seeds():
    """Of 1, 2 and 6 the mean is 3 and the squared differences 4 + 1 + 9: sqrt(14 / 2)."""
    assert metrics.spread([1, 2, 6]) == pytest.approx(math.sqrt(7))
    assert metrics.spread([1, None, float("nan"), 3]) == pytest.approx(math.sqrt(2))
    assert metrics.spread([1]) is None
    assert metrics.spread([]) is None
