"""All measures of the final lists in one call: values a query, and a summary with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tastemaker.errors import DataError
from tastemaker.metrics.exposure import coverage_by_k, exposure, lorenz, times_listed
from tastemaker.metrics.lists import list_measures, serendipity
from tastemaker.metrics.ranking import accuracy, hits
from tastemaker.metrics.revenue import revenue
from tastemaker.metrics.statistics import Ratio, intervals, mean, used

if TYPE_CHECKING:
    from tastemaker.data.ranking import Ranking
    from tastemaker.data.splits import Holdout
    from tastemaker.metrics.catalogue import Catalogue
    from tastemaker.types import Float32

Summary = dict[str, dict[str, float | None]]
"""Measure -> {"value", "low", "high"}, each None where it is undefined."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Every measure of B lists.

    Attributes:
        per_query: measure -> float32 [B], NaN where it is undefined for a query; for paired tests.
        ratios: measures that are a ratio of sums over queries: revenue, popularity lift.
        summary: mean or ratio of each of these with its 95 % bootstrap interval, and the measures over all lists.
        queries: measure -> number of queries that count; those of the measures over all lists are B.
        curves: "lorenz" and "coverage", lists of points.
        notes: which measures are missing, and what they leave out.
    """

    per_query: dict[str, Float32]
    ratios: dict[str, Ratio]
    summary: Summary
    queries: dict[str, int]
    curves: dict[str, list[list[float]]]
    notes: tuple[str, ...]

    @property
    def values(self) -> dict[str, Float32 | Ratio]:
        """Everything that has a value a query, as `by_group` and `intervals` take it."""
        return {**self.per_query, **self.ratios}


def everything(
    ranking: Ranking, holdout: Holdout, catalogue: Catalogue, ks: Sequence[int], *, seed: int = 0
) -> Measured:
    """Measure final lists against their targets, and by themselves.

    Args:
        ranking: B lists; those shorter than a k are measured as they are.
        holdout: the questions and answers, in the same order.
        catalogue: what is known about the products from training data.
        ks: list lengths.
        seed: of the bootstrap.

    Raises:
        DataError: no queries, a query without target, a k below 1, or lists, questions and catalogue do not fit.
    """
    ks = _checked(ranking, holdout, catalogue, ks)
    found = hits(ranking, holdout.targets)
    described = list_measures(ranking.items, holdout.queries, catalogue, ks)
    money = revenue(found, holdout.targets, catalogue.prices, ks)
    per_query = {
        **accuracy(found, ks),
        **described.per_query,
        **{f"serendipity@{k}": serendipity(found, catalogue, k).astype(np.float32) for k in ks},
    }
    ratios = {**described.ratios, **money.ratios}
    values: dict[str, Float32 | Ratio] = {**per_query, **ratios}
    over_all = exposure(ranking.items, catalogue, ks)
    first = ranking.items[:, : ks[-1]]
    return Measured(
        per_query,
        ratios,
        summary=summarise(values, seed=seed) | {name: entry(value) for name, value in over_all.items()},
        queries={name: used(array) for name, array in values.items()} | dict.fromkeys(over_all, len(ranking)),
        curves={
            "lorenz": lorenz(times_listed(first, len(catalogue))),
            "coverage": coverage_by_k(first, len(catalogue)),
        },
        notes=_notes(catalogue, money.note),
    )


def summarise(values: Mapping[str, Float32 | Ratio], *, seed: int = 0) -> Summary:
    """Return the mean (or ratio of sums) of each measure with its 95 % bootstrap interval."""
    bounds = intervals(values, seed=seed)
    return {name: entry(mean(array), *bounds[name]) for name, array in values.items()}


def entry(value: float, low: float = float("nan"), high: float = float("nan")) -> dict[str, float | None]:
    """Return a value and its interval for JSON, None for NaN."""
    figures = {"value": value, "low": low, "high": high}
    return {name: None if np.isnan(figure) else float(figure) for name, figure in figures.items()}


def _notes(catalogue: Catalogue, about_prices: str) -> tuple[str, ...]:
    notes = [] if catalogue.vectors is not None else ["no diversity: no text vectors were given"]
    if catalogue.categories is None:
        notes.append("no category measures and no miscalibration: no item has a category")
    return (*notes, *([about_prices] if about_prices else []))


def _checked(ranking: Ranking, holdout: Holdout, catalogue: Catalogue, ks: Sequence[int]) -> tuple[int, ...]:
    """Return the distinct ks in rising order."""
    if not ks or min(ks) < 1:
        raise DataError(f"k must be at least 1, got {', '.join(map(str, ks)) or 'none'}")
    if not len(holdout):
        raise DataError("no queries to measure; the test part of the split is empty")
    if len(ranking) != len(holdout):
        raise DataError(f"{len(ranking)} lists for {len(holdout)} queries; rank every query, in their order")
    bare = holdout.targets.lengths == 0
    if bare.any():
        raise DataError(f"query {int(bare.argmax())} has no target; leave queries without a true item out")
    named = {"list": ranking.items, "history": holdout.queries.items, "target": holdout.targets.items}
    for what, items in named.items():
        largest = int(items.max(initial=-1))
        if largest >= len(catalogue):
            raise DataError(
                f"a {what} names item number {largest}, but the catalogue has {len(catalogue)} items; "
                "make the catalogue from the data that the lists were made from"
            )
    return tuple(sorted(set(ks)))
