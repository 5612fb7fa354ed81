"""Intervals: against printed values, exact coverage where it can be summed, and simulated coverage elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tastemaker.errors import ConfigError
from tastemaker.experiments.uncertainty import (
    MANY,
    Arm,
    against,
    anytime_half_width,
    difference,
    estimate,
    needed_shoppers,
    newcombe,
    sample_ratio_p,
    wilson,
)
from tastemaker.metrics.statistics import Ratio


def arm(numerators, denominators=None, *, binary=False):
    above = np.asarray(numerators, dtype=np.float32)
    below = np.ones_like(above) if denominators is None else np.asarray(denominators, dtype=np.float32)
    return Arm(Ratio(above, below), binary)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (81, 263), (10, 10), (1, 1)])
def test_wilson_is_scipys(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_newcombe_is_as_printed():
    """Newcombe (1998), table II, method 10, contrasts a, c, e and g."""
    printed = {
        ((56, 70), (48, 80)): (0.0524, 0.3339),
        ((6, 7), (2, 7)): (0.0582, 0.8062),
        ((5, 56), (0, 29)): (-0.0381, 0.1926),
        ((0, 10), (0, 20)): (-0.1611, 0.2775),
    }
    for (one, two), expected in printed.items():
        assert newcombe(one, two) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize("n", [20, 100, 1000])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_wilson_covers(n, share):
    """The probability that the interval holds the truth, summed over all outcomes."""
    counts = np.arange(n + 1)
    holds = np.asarray([low <= share <= high for low, high in (wilson(int(count), n) for count in counts)])
    assert 0.92 <= stats.binom.pmf(counts, n, share) @ holds <= 0.99


@pytest.mark.parametrize(("one", "two"), [(0.1, 0.1), (0.05, 0.15), (0.4, 0.5)])
def test_newcombe_covers(one, two):
    n, m = 60, 90
    first, second = stats.binom.pmf(range(n + 1), n, one), stats.binom.pmf(range(m + 1), m, two)
    covered = sum(
        first[a] * second[b]
        for a in range(n + 1)
        for b in range(m + 1)
        if first[a] * second[b] > 1e-9 and (low := newcombe((a, n), (b, m)))[0] <= one - two <= low[1]
    )
    assert 0.935 <= covered <= 0.985


def _shoppers(rng, n, rate):
    """Clicks and lists of shoppers who differ: a few see many lists, and each has a rate of their own."""
    lists = 1 + rng.negative_binomial(1, 0.25, n)
    own = rng.beta(4 * rate, 4 * (1 - rate), n)
    return rng.binomial(lists, own), lists


def test_bootstrap_over_shoppers_covers_where_lists_as_units_do_not():
    rng = np.random.default_rng(1)
    covered, lists_covered, lifts = 0, 0, 0
    runs = 300
    for run in range(runs):
        ours, theirs = arm(*_shoppers(rng, 250, 0.24)), arm(*_shoppers(rng, 250, 0.2))
        found = difference(ours, theirs, seed=2 * run, resamples=200)
        covered += found.absolute.low <= 0.04 <= found.absolute.high
        lifts += found.relative.low <= 0.2 <= found.relative.high
        low, high = newcombe(
            *((float(a.ratio.numerators.sum()), int(a.ratio.denominators.sum())) for a in (ours, theirs))
        )
        lists_covered += low <= 0.04 <= high
    assert 0.91 <= covered / runs <= 0.985
    assert 0.91 <= lifts / runs <= 0.985
    assert lists_covered / runs < 0.88


def test_revenue_of_few_big_spenders_is_covered():
    rng = np.random.default_rng(2)
    covered, runs = 0, 250
    truth = 0.1 * np.exp(3 + 0.8**2 / 2)
    for run in range(runs):
        spent = [np.where(rng.random(600) < 0.1, rng.lognormal(3, 0.8, 600), 0.0) for _ in range(2)]
        found = difference(arm(spent[0] * 1.5), arm(spent[1]), seed=2 * run, resamples=200)
        covered += found.absolute.low <= 0.5 * truth <= found.absolute.high
    assert 0.9 <= covered / runs <= 0.985


def test_the_delta_method_agrees_with_the_bootstrap():
    rng = np.random.default_rng(3)
    ours, theirs = arm(*_shoppers(rng, 4000, 0.3)), arm(*_shoppers(rng, 4000, 0.25))
    boot = difference(ours, theirs, resamples=2000)
    spread = (boot.absolute.high - boot.absolute.low) / 2 / 1.96
    assert spread == pytest.approx((ours.error**2 + theirs.error**2) ** 0.5, rel=0.06)
    assert ours.draws(seed=0, resamples=2000).std() == pytest.approx(ours.error, rel=0.06)


def test_many_shoppers_need_no_bootstrap():
    rng = np.random.default_rng(4)
    ours, theirs = arm(rng.exponential(2, MANY + 1)), arm(rng.exponential(1.9, 5000))
    found = difference(ours, theirs)
    assert found.absolute.method == estimate(ours).method == "normal"
    assert found.absolute.low < found.absolute.value < found.absolute.high
    assert found.relative.value == pytest.approx(ours.value / theirs.value - 1)


def test_p_values_are_even_where_variants_are_alike():
    rng = np.random.default_rng(5)
    ps = [difference(arm(*_shoppers(rng, 150, 0.2)), arm(*_shoppers(rng, 150, 0.2)), resamples=2).p for _ in range(500)]
    assert stats.kstest(ps, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(np.asarray(ps) < 0.05) < 0.085


def test_watching_an_experiment_is_safe_with_anytime_intervals_only():
    """Alike variants, a look after every 100 shoppers: how often is a difference claimed at any look?"""
    rng = np.random.default_rng(6)
    runs, looks = 400, np.arange(100, 3001, 100)
    ours, theirs = rng.exponential(1, (2, runs, 3000 // 2))
    fixed, anytime = np.zeros(runs, bool), np.zeros(runs, bool)
    for look in looks:
        a, b = ours[:, : look // 2], theirs[:, : look // 2]
        gap = a.mean(axis=1) - b.mean(axis=1)
        error = np.sqrt((a.var(axis=1, ddof=1) + b.var(axis=1, ddof=1)) / (look // 2))
        fixed |= np.abs(gap) > 1.96 * error
        anytime |= np.abs(gap) > [anytime_half_width(one, int(look), planned=3000) for one in error]
    assert fixed.mean() > 0.2
    assert anytime.mean() <= 0.05


def test_anytime_intervals_are_narrowest_where_planned():
    widths = {n: anytime_half_width(n**-0.5, n, planned=10_000) * n**0.5 for n in (100, 1000, 10_000, 100_000)}
    assert min(widths, key=widths.get) == 10_000
    assert widths[10_000] > 1.96


def test_mismatch_of_the_sample_ratio():
    assert sample_ratio_p([500, 500], [0.5, 0.5]) == 1
    assert sample_ratio_p([821_588, 815_482], [0.5, 0.5]) == pytest.approx(1.8e-6, rel=0.05)  # Fabijan et al. (2019)
    assert sample_ratio_p([300, 700], [0.3, 0.7]) == pytest.approx(1)
    assert sample_ratio_p([], []) != sample_ratio_p([], [])  # NaN


def test_too_little_to_tell():
    found = difference(arm([1.0]), arm([0.0, 1.0]))
    assert np.isnan([found.absolute.low, found.p, *found.anytime]).all()
    assert np.isnan(estimate(arm([])).value)
    nothing = difference(arm([0, 0, 0]), arm([0, 0, 0]))
    assert (nothing.absolute.low, nothing.absolute.high, nothing.p) == (0, 0, 1)
    assert np.isnan(nothing.relative.value)


def test_a_control_that_may_be_nothing_has_no_upper_end():
    found = difference(arm([1.0] * 40), arm([0.0] * 39 + [1.0]), resamples=400)
    assert found.relative.high == np.inf
    assert np.isfinite(found.relative.low)


def test_against_a_fixed_value():
    preferred = arm([1.0] * 60 + [0.0] * 40)
    found = against(0.5, preferred, estimate(preferred))
    assert found.absolute.value == pytest.approx(0.1)
    assert found.absolute.low == pytest.approx(0.1 - 1.96 * 0.049, abs=0.02)
    assert found.p == pytest.approx(2 * stats.norm.sf(0.1 / preferred.error))


@pytest.mark.parametrize(
    ("rate", "lift", "power", "share"), [(0.1, 0.3, 0.8, 0.5), (0.05, -0.4, 0.9, 0.5), (0.2, 0.2, 0.8, 0.25)]
)
def test_so_many_shoppers_find_the_difference(rate, lift, power, share):
    """Simulated with the test whose size is planned, and with the p-values that results give."""
    n = needed_shoppers(rate, lift, power=power, share=share)
    mine, others = round(n * share), n - round(n * share)
    rng = np.random.default_rng(7)
    a, b = rng.binomial(mine, rate * (1 + lift), 4000) / mine, rng.binomial(others, rate, 4000) / others
    error = np.sqrt(a * (1 - a) / (mine - 1) + b * (1 - b) / (others - 1))
    found = 2 * stats.norm.sf(np.abs(a - b) / error) < 0.05
    assert found.mean() == pytest.approx(power, abs=0.035)


def test_needed_shoppers_are_those_of_r():
    """R's power.prop.test(p1 = 0.1, p2 = 0.15, power = 0.8): 685.6 in each group."""
    assert needed_shoppers(0.1, 0.5) / 2 == pytest.approx(685.6, abs=1)


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"lift": 0}, {"lift": 12.0}, {"power": 1}, {"share": 0}])
def test_sizes_that_cannot_be_planned(wrong):
    given = {"rate": 0.1, "lift": 0.1, **wrong}
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: out of range"):
        needed_shoppers(given.pop("rate"), given.pop("lift"), **given)
