"""How sure a figure is: bootstrap intervals, paired tests, correction for many tests, spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats would take half a second to import

from tastemaker.errors import DataError

if TYPE_CHECKING:
    from typing import Self

    from tastemaker.types import Bool, Float32, Float64

Interval = tuple[float, float]

BLOCK_BYTES = 32 * 2**20
"""Size of one block of bootstrap weights."""
MANY = 200
"""Pairs from which the t-test is used instead of the randomisation test."""
FLIPS = 9_999


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measure that is one sum over queries divided by another, such as revenue found / revenue possible.

    Attributes:
        numerators: float32 [B].
        denominators: float32 [B]; a query that does not count has 0 in both.
    """

    numerators: Float32
    denominators: Float32

    def __len__(self) -> int:
        return len(self.numerators)

    def per_query(self) -> Float32:
        """Return each query's own ratio, [B], NaN where its denominator is 0."""
        nothing = np.full_like(self.numerators, np.nan)
        return np.divide(self.numerators, self.denominators, out=nothing, where=self.denominators != 0)

    @classmethod
    def concatenate(cls, parts: Sequence[Ratio]) -> Self:
        """Return the ratio over the queries of all parts, in their order."""
        return cls(
            np.concatenate([part.numerators for part in parts]), np.concatenate([part.denominators for part in parts])
        )

    def take(self, rows: Bool) -> Ratio:
        """Return the queries where `rows` is true."""
        return Ratio(self.numerators[rows], self.denominators[rows])


def as_ratio(values: Float32 | Ratio) -> Ratio:
    """Return values as a ratio: the mean of those that are not NaN is their sum / their number."""
    if isinstance(values, Ratio):
        return values
    known = ~np.isnan(values)
    return Ratio(np.where(known, values, 0).astype(np.float32), known.astype(np.float32))


def mean(values: Float32 | Ratio) -> float:
    """Return the mean of the values that are not NaN, or the ratio of the sums; NaN where there is none."""
    parts = as_ratio(values)
    below = parts.denominators.sum(dtype=np.float64)
    return float(parts.numerators.sum(dtype=np.float64) / below) if below else float("nan")


def used(values: Float32 | Ratio) -> int:
    """Return how many queries count."""
    return int(np.count_nonzero(as_ratio(values).denominators))


def intervals(
    values: Mapping[str, Float32 | Ratio], *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Return percentile bootstrap intervals of means over queries (Efron, 1979), all from the same resamples.

    Args:
        values: measure -> one value a query, NaN where it is undefined, or a ratio; all of B queries.
        seed: of the resamples; equal seeds and B give equal resamples.
        resamples: number of times B queries are drawn with replacement.
        level: share of the resampled means inside the interval.

    Returns:
        Measure -> (low, high); NaN where fewer than two queries count.

    Raises:
        DataError: measures of different numbers of queries.
    """
    if not values:
        return {}
    sizes = {name: len(array) for name, array in values.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"intervals: measures of different numbers of queries: {sizes}")
    ratios = [as_ratio(array) for array in values.values()]
    means = _resampled(ratios, seed=seed, resamples=resamples)  # [resamples, m]
    quantile = np.nanquantile if np.isnan(means).any() else np.quantile
    enough = np.array([np.count_nonzero(ratio.denominators) >= 2 for ratio in ratios])
    bounds = np.full((2, len(ratios)), np.nan)
    if enough.any():
        bounds[:, enough] = quantile(means[:, enough], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(low), float(high)) for name, (low, high) in zip(values, bounds.T, strict=True)}


def bootstrap_interval(
    values: Float32 | Ratio, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Return the percentile bootstrap interval of one measure; see `intervals`."""
    return intervals({"value": values}, seed=seed, resamples=resamples, level=level)["value"]


def resampled_sums(columns: Float32 | Float64, *, seed: int = 0, resamples: int = 1000) -> Float64:
    """Return the sums of columns, [B, c], over B rows drawn with replacement, many times, [resamples, c].

    A resample is a row of weights, how often each row was drawn, so that all sums of many resamples are one product
    [resamples, B] @ [B, c].
    """
    size = len(columns)
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK_BYTES // (4 * max(1, size)))
    sums = np.empty((resamples, columns.shape[1]), dtype=np.float64)
    for start in range(0, resamples, step):
        weights = np.empty((min(step, resamples - start), size), dtype=np.float32)
        for row in weights:
            row[:] = np.bincount(rng.integers(0, size, size, dtype=np.int32), minlength=size)
        sums[start : start + step] = weights @ columns
    return sums


def _resampled(ratios: Sequence[Ratio], *, seed: int, resamples: int) -> Float64:
    """Return the ratios of the resampled sums, [resamples, m]; NaN where a resample has nothing to divide by.

    Most measures count the same queries: each such column is summed once.
    """
    below = {ratio.denominators.tobytes(): ratio.denominators for ratio in ratios}
    column_of = {key: len(ratios) + place for place, key in enumerate(below)}
    columns = np.column_stack([*(ratio.numerators for ratio in ratios), *below.values()])  # [B, m + distinct]
    sums = resampled_sums(columns, seed=seed, resamples=resamples)
    above, denominators = sums[:, : len(ratios)], sums[:, [column_of[ratio.denominators.tobytes()] for ratio in ratios]]
    return np.divide(above, denominators, out=np.full_like(above, np.nan), where=denominators != 0)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The difference between two models on the same queries.

    Attributes:
        difference: mean of a - b.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided probability of such a difference between models that are alike.
    """

    difference: float
    low: float
    high: float
    p: float


def paired_test(a: Float32, b: Float32, *, seed: int = 0) -> PairedTest:
    """Test whether two models differ, query by query, two-sided; pairs with a NaN are left out.

    From 200 pairs on: the paired t-test and its interval. Below: the sign-flip randomisation test (Fisher, 1935) with
    9,999 random flips and p = (1 + flips at least as extreme) / 10,000, and a bootstrap interval.

    Raises:
        DataError: a and b are of different lengths.
    """
    if len(a) != len(b):
        raise DataError(f"paired test: {len(a)} and {len(b)} values; both models must answer the same queries")
    differences = a.astype(np.float64) - b
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return PairedTest(float("nan"), float("nan"), float("nan"), float("nan"))
    if not differences.any():
        return PairedTest(0.0, 0.0, 0.0, 1.0)
    if len(differences) >= MANY:
        return _t_test(differences)
    low, high = bootstrap_interval(differences.astype(np.float32), seed=seed)
    return PairedTest(float(differences.mean()), low, high, _randomisation(differences, seed=seed))


def _t_test(differences: Float64) -> PairedTest:
    """Return the one-sample t-test of the differences against 0."""
    middle, freedom = float(differences.mean()), len(differences) - 1
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    if error <= np.finfo(np.float64).eps * abs(middle):  # every query differs by the same
        return PairedTest(middle, middle, middle, 0.0)
    half = error * float(stdtrit(freedom, 0.975))
    return PairedTest(middle, middle - half, middle + half, float(2 * stdtr(freedom, -abs(middle) / error)))


def _randomisation(differences: Float64, *, seed: int) -> float:
    """Return the share of random sign flips whose sum is at least as far from 0, the observed one included."""
    signs = np.random.default_rng(seed).integers(0, 2, (FLIPS, len(differences)), dtype=np.int8) * 2.0 - 1.0
    sums = np.abs(signs @ differences)
    observed = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()  # rounding must not hide a tie
    return float((1 + np.count_nonzero(sums >= observed)) / (FLIPS + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of tests (Holm, 1979); NaN stays NaN and is no test."""
    adjusted = np.array(ps, dtype=np.float64)
    order = np.argsort(adjusted, kind="stable")[: np.count_nonzero(~np.isnan(adjusted))]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(adjusted[order] * factors), 1.0)
    return [float(p) for p in adjusted]


def spread(values: Sequence[float | None]) -> float | None:
    """Return the standard deviation over seeds (n - 1 in the denominator); None with fewer than two values."""
    known = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None
