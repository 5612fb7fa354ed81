"""Intervals for one arm and for the difference of two, at one look and at any time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtrc, ndtr, ndtri

from tastemaker.errors import ConfigError
from tastemaker.metrics.statistics import Ratio, resampled_sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tastemaker.metrics.statistics import Interval
    from tastemaker.types import Float64

MANY = 20_000
"""Shoppers in an arm from which the normal approximation takes the place of the bootstrap."""
NAN = float("nan")
ENDLESS = 1e300
"""A lift over a control of nothing; quantiles cannot go between infinities."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A measure of one variant: a sum over shoppers divided by another.

    Attributes:
        ratio: numerator and denominator of each shopper.
        binary: whether it is the share of shoppers who did something, so that score intervals hold.
    """

    ratio: Ratio
    binary: bool = False

    @property
    def size(self) -> int:
        """Number of shoppers."""
        return len(self.ratio)

    @property
    def value(self) -> float:
        """The measure, NaN without anything to divide by."""
        below = float(self.ratio.denominators.sum(dtype=np.float64))
        return float(self.ratio.numerators.sum(dtype=np.float64)) / below if below else NAN

    @property
    def error(self) -> float:
        """Standard error by the delta method (Deng, Knoblich and Lu, 2018); NaN with fewer than two shoppers."""
        below = self.ratio.denominators.astype(np.float64)
        if self.size < 2 or not below.any():
            return NAN
        rest = (self.ratio.numerators - self.value * below) / below.mean()
        return float(rest.std(ddof=1)) / sqrt(self.size)

    def draws(self, *, seed: int, resamples: int) -> Float64:
        """Return the measure of shoppers drawn with replacement, [resamples]."""
        columns = np.column_stack([self.ratio.numerators, self.ratio.denominators])
        sums = resampled_sums(columns, seed=seed, resamples=resamples)
        nothing = np.full(resamples, np.nan)
        return np.asarray(np.divide(sums[:, 0], sums[:, 1], out=nothing, where=sums[:, 1] != 0))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval and how that was found; NaN where the data do not tell."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A variant less the control.

    Attributes:
        absolute: the difference, with the interval for one look at a time fixed beforehand.
        relative: the difference as a part of the control, NaN where the control is not above 0.
        p: two-sided probability of such a difference between variants that are alike, at one look.
        anytime: interval that holds at every look together, so the experiment may be watched and stopped at will.
    """

    absolute: Estimate
    relative: Estimate
    p: float
    anytime: Interval


def wilson(successes: float, n: int, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share (1927)."""
    if n < 1:
        return NAN, NAN
    z = float(ndtri((1 + level) / 2))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(one: tuple[float, int], two: tuple[float, int], *, level: float = 0.95) -> Interval:
    """Return Newcombe's interval of the share of `one` less that of `two` (1998, method 10): (successes, n) each."""
    first, second = one[0] / one[1], two[0] / two[1]
    (low1, high1), (low2, high2) = wilson(*one, level=level), wilson(*two, level=level)
    below, above = sqrt((first - low1) ** 2 + (high2 - second) ** 2), sqrt((high1 - first) ** 2 + (second - low2) ** 2)
    return first - second - below, first - second + above


def estimate(arm: Arm, *, seed: int = 0, resamples: int = 1000, level: float = 0.95) -> Estimate:
    """Return a measure of one arm: Wilson for shares of shoppers, else bootstrap over shoppers, or normal for many."""
    if arm.binary:
        return Estimate(arm.value, *wilson(float(arm.ratio.numerators.sum()), arm.size, level=level), "Wilson")
    if arm.size > MANY:
        half = float(ndtri((1 + level) / 2)) * arm.error
        return Estimate(arm.value, arm.value - half, arm.value + half, "normal")
    return _from_draws(arm.value, arm.draws(seed=seed, resamples=resamples), arm.size, level)


def difference(
    arm: Arm, control: Arm, *, seed: int = 0, resamples: int = 1000, level: float = 0.95, planned: int = 10_000
) -> Difference:
    """Compare an arm with the control, whose shoppers are others.

    Args:
        arm: a variant.
        control: the control.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        level: of all intervals.
        planned: number of shoppers at which the anytime interval is narrowest; it holds at every number.
    """
    gap = arm.value - control.value
    error = sqrt(arm.error**2 + control.error**2)
    z = float(ndtri((1 + level) / 2))
    lift = gap / control.value if control.value > 0 else NAN
    if arm.size < 2 or control.size < 2:
        nothing = Estimate(gap, NAN, NAN, "-")
        return Difference(nothing, Estimate(lift, NAN, NAN, "-"), NAN, (NAN, NAN))
    if max(arm.size, control.size) > MANY:
        absolute = Estimate(gap, gap - z * error, gap + z * error, "normal")
        relative = Estimate(NAN, NAN, NAN, "normal")
        if control.value > 0:
            spread = sqrt(arm.error**2 + (arm.value / control.value * control.error) ** 2) / control.value
            relative = Estimate(lift, lift - z * spread, lift + z * spread, "normal")
    else:
        ours = arm.draws(seed=seed, resamples=resamples)
        theirs = control.draws(seed=seed + 1, resamples=resamples)
        size = min(arm.size, control.size)
        absolute = _from_draws(gap, ours - theirs, size, level)
        relative = Estimate(NAN, NAN, NAN, "bootstrap")
        if control.value > 0:
            lifts = np.divide(ours, theirs, out=np.full_like(ours, ENDLESS), where=theirs > 0) - 1
            relative = _from_draws(lift, lifts, size, level)
    if arm.binary:
        counts = [(float(one.ratio.numerators.sum()), one.size) for one in (arm, control)]
        absolute = Estimate(gap, *newcombe(counts[0], counts[1], level=level), "Newcombe")
    p = _two_sided(gap, error)
    half = anytime_half_width(error, arm.size + control.size, level=level, planned=planned)
    return Difference(absolute, relative, p, (gap - half, gap + half))


def against(value: float, arm: Arm, shown: Estimate, *, level: float = 0.95, planned: int = 10_000) -> Difference:
    """Compare an arm, whose estimate is given, with a fixed value above 0."""
    gap = arm.value - value
    absolute = Estimate(gap, shown.low - value, shown.high - value, shown.method)
    relative = Estimate(gap / value, absolute.low / value, absolute.high / value, shown.method)
    half = anytime_half_width(arm.error, arm.size, level=level, planned=planned)
    return Difference(absolute, relative, _two_sided(gap, arm.error), (gap - half, gap + half))


def anytime_half_width(error: float, n: int, *, level: float = 0.95, planned: int = 10_000) -> float:
    """Return the half width of an asymptotic confidence sequence around a mean.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and asymptotic confidence
    sequences" (arXiv 2103.06476), their Gaussian mixture: with probability `level` the interval holds at all n at once,
    from the n on at which means are about normal.

    Args:
        error: standard error of the mean of n units.
        n: number of units so far.
        level: probability.
        planned: n at which the sequence is narrowest.
    """
    if n < 1:
        return NAN
    alpha = 1 - level
    rho2 = (-2 * log(alpha) + log(-2 * log(alpha)) + 1) / planned
    spread = n * rho2 + 1
    return error * sqrt(n) * sqrt(2 * spread / (n * n * rho2) * log(sqrt(spread) / alpha))


def sample_ratio_p(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return the p-value of Pearson's chi-square test that shoppers came to variants in the planned shares.

    Far below 0.001 means that something loses or adds shoppers of one variant, and that results are not to be trusted
    (sample ratio mismatch; Fabijan et al., 2019).
    """
    total = sum(counts)
    if total == 0 or len(counts) < 2:
        return NAN
    expected = [total * share for share in shares]
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))
    return float(chdtrc(len(counts) - 1, statistic))


def needed_shoppers(rate: float, lift: float, *, power: float = 0.8, level: float = 0.95, share: float = 0.5) -> int:
    """Return how many shoppers, both arms together, find a difference between two shares with a probability.

    The usual formula of the two-sided z-test (Fleiss, Levin and Paik, 2003, without continuity correction).

    Args:
        rate: share of the control's shoppers who do it.
        lift: difference to find, as a part of `rate`, e.g. 0.1 for 10 % more.
        power: probability of finding it.
        level: 1 less the probability of finding a difference where there is none.
        share: part of the shoppers who are in the variant.

    Raises:
        ConfigError: a value is out of range.
    """
    other = rate * (1 + lift)
    ranges = {"rate": 0 < rate < 1, "lift": lift != 0 and 0 < other < 1, "power": 0 < power < 1, "share": 0 < share < 1}
    for name, fits in ranges.items():
        if not fits:
            raise ConfigError(f"{name}: out of range: rates, power and share lie between 0 and 1, and a lift is not 0")
    mean = share * other + (1 - share) * rate
    pooled = sqrt(mean * (1 - mean) * (1 / share + 1 / (1 - share)))
    apart = sqrt(other * (1 - other) / share + rate * (1 - rate) / (1 - share))
    z, z_power = float(ndtri((1 + level) / 2)), float(ndtri(power))
    return ceil(((z * pooled + z_power * apart) / (other - rate)) ** 2)


def _two_sided(gap: float, error: float) -> float:
    """Return the p-value of a difference with a standard error, by the normal approximation."""
    if not error > 0:
        return 1.0 if gap == 0 else NAN
    return float(2 * ndtr(-abs(gap) / error))


def _from_draws(value: float, draws: Float64, size: int, level: float) -> Estimate:
    if size < 2 or np.isnan(draws).all():
        return Estimate(value, NAN, NAN, "bootstrap")
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high) if high < ENDLESS / 2 else float("inf"), "bootstrap")
