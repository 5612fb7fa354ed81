"""Groups of queries, what the measures are in each, and how far the groups are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.errors import DataError, did_you_mean
from tastemaker.metrics.names import worth
from tastemaker.metrics.statistics import Ratio, as_ratio, holm
from tastemaker.metrics.summary import summarise

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.metrics.catalogue import Catalogue
    from tastemaker.types import Bool, Float32, Float64, Int32, Int64

LENGTHS = ((0, 0), (1, 2), (3, 5), (6, 10), (11, None))
FEW = 12
"""Most distinct values that become a group each."""
MOST_FREQUENT = 8
PERMUTATIONS = 999
SIGNIFICANT = 0.05
LARGEST_WHOLE = 2.0**53
"""Whole numbers beyond are not exact."""
UNKNOWN, OTHER = "unknown", "other"


@dataclass(frozen=True, slots=True)
class Groups:
    """Which group each of B queries is in.

    Attributes:
        by: what the groups are made by, such as "history length".
        labels: names of the groups, in the order to show them.
        of_query: int32 [B] number of each query's group, -1 = none.
    """

    by: str
    labels: tuple[str, ...]
    of_query: Int32


def by_history_length(queries: Queries) -> Groups:
    """Group by the number of items in the history: 0, 1-2, 3-5, 6-10, 11+."""
    labels = tuple(f"{low}+" if high is None else f"{low}-{high}" if high > low else f"{low}" for low, high in LENGTHS)
    of_query = np.searchsorted([low for low, _ in LENGTHS], queries.lengths, side="right") - 1
    return Groups("history length", labels, of_query.astype(np.int32))


def by_target_popularity(targets: Queries, catalogue: Catalogue) -> Groups:
    """Group by how popular the (first) target is in training: cold, tail, middle, head.

    Cold: no training interaction. Head: the fewest most popular products that together hold at least half of the
    training interactions. Of the other m products, the m // 2 least popular are the tail and the rest the middle.
    Equally popular products go by number, the lower one counting as more popular.
    """
    order, popularity = catalogue.by_popularity, catalogue.popularity
    held = np.cumsum(popularity[order], dtype=np.float64)
    warm = int(np.count_nonzero(popularity))
    head = int(np.searchsorted(held, held[-1] / 2)) + 1 if warm else 0
    middle = warm - (warm - head) // 2
    of_item = np.empty(len(order), dtype=np.int32)
    for group, places in enumerate((slice(warm, None), slice(middle, warm), slice(head, middle), slice(0, head))):
        of_item[order[places]] = group
    return Groups("target popularity", ("cold", "tail", "middle", "head"), of_item[first_targets(targets)])


def by_target_age(targets: Queries, train: Dataset) -> Groups | None:
    """Group by when the (first) target was first bought, in thirds of the training period; None without times.

    A product without training interaction has no age and is in no group; synthetic interactions do not count.
    """
    train = train.real()
    if not train.has_timestamps:
        return None
    start, end = (int(time) for time in train.log.select(a=pl.min("timestamp"), b=pl.max("timestamp")).row(0))
    if start == end:
        return None
    first = train.log.group_by("item").agg(pl.min("timestamp"))
    of_item = np.full(train.n_items, -1, dtype=np.int32)
    passed = (first["timestamp"].to_numpy() - start) / (end - start)  # 0 to 1
    of_item[first["item"].to_numpy()] = 2 - np.minimum(np.floor(passed * 3), 2)
    return Groups("target age", ("newest third", "middle third", "oldest third"), of_item[first_targets(targets)])


def by_user(column: str, queries: Queries, users: Entities) -> Groups:
    """Group by a column of the users; see `by_value`. A query without a known user is "unknown".

    Raises:
        DataError: the column is unknown or holds no plain values, or the queries have no users.
    """
    values = _column(users, column, "users")
    if queries.users is None:
        raise DataError(f"no groups by '{column}': the queries do not say which users they are of")
    return by_value(column, values.gather(pl.Series(queries.users).replace(-1, None)))


def by_item(column: str, targets: Queries, items: Entities) -> Groups:
    """Group by a column of the items, such as brand or categories, at the (first) target; see `by_value`.

    Raises:
        DataError: the column is unknown or holds no plain values.
    """
    return by_value(column, _column(items, column, "items").gather(first_targets(targets)))


def by_value(by: str, values: pl.Series) -> Groups:
    """Group queries by a value each: nothing known is "unknown"; the most specific one of a list counts.

    Up to 12 distinct values are a group each. More numbers than that are cut at their quartiles; of more texts the 8
    most frequent are a group each and the rest is "other". Texts that are all numbers count as numbers, unless one
    begins with a 0 as codes do.

    Raises:
        DataError: the values are neither texts, numbers, truth values nor lists of texts.
    """
    if isinstance(values.dtype, pl.List):
        values = values.list.last()
    plain = values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    if not plain:
        raise DataError(f"no groups by '{by}': it holds {values.dtype}; give texts, numbers or truth values")
    values = _as_numbers(values)
    distinct = values.drop_nulls().n_unique()
    if values.dtype.is_numeric() and distinct > FEW:
        return _quartiles(by, values)
    words = values.cast(pl.String)
    if distinct <= FEW:
        labels = values.drop_nulls().unique().sort().cast(pl.String).to_list()
    else:
        counts = words.drop_nulls().value_counts().sort(["count", words.name], descending=[True, False])
        labels = counts[words.name].head(MOST_FREQUENT).to_list()
        words = pl.select(
            pl.when(words.is_in(labels) | words.is_null()).then(words).otherwise(pl.lit(OTHER))
        ).to_series()
        labels = [*dict.fromkeys([*labels, OTHER])]
    labels = [*dict.fromkeys([*labels, UNKNOWN])]
    return Groups(by, tuple(labels), _numbers(words.fill_null(UNKNOWN), labels))


def by_group(values: Mapping[str, Float32 | Ratio], groups: Groups, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return the measures of each group that has a query, for JSON.

    Returns:
        For each group {"by", "group", "queries", "metrics": {measure: {"value", "low", "high"}}}; low and high are None
        with fewer than two queries.
    """
    rows = []
    for number, label in enumerate(groups.labels):
        inside = groups.of_query == number
        if inside.any():
            part = {name: _take(array, inside) for name, array in values.items()}
            facts = {"by": groups.by, "group": label, "queries": int(inside.sum())}
            rows.append({**facts, "metrics": summarise(part, seed=seed)})
    return rows


def gaps(
    measure: str, values: Float32 | Ratio, groupings: Sequence[Groups], *, least: int = 20, seed: int = 0
) -> list[dict[str, Any]]:
    """Return the worst and the best group of each kind, how far they are apart, and whether that is more than luck.

    The test is of permutations (Fisher, 1935): how often do the worst and the best group lie as far apart when the
    queries are dealt to the groups at random? That counts in that the two were picked because they are far apart.

    Args:
        measure: such as "ndcg@10".
        values: the measure of each of B queries, NaN where it is undefined, or a ratio.
        groupings: kinds of groups of the same B queries.
        least: groups with fewer queries with a value do not count.
        seed: of the 999 permutations.

    Returns:
        {"by", "measure", "worst", "worst_value", "worst_queries", "best", "best_value", "best_queries", "gap", "p",
        "p_holm", "significant"} for each kind with two groups that count; p_holm is corrected for the number of kinds.
    """
    ratio = as_ratio(values)
    counting = [(groups, _large(ratio, groups, least)) for groups in groupings]
    counting = [(groups, large) for groups, large in counting if len(large) > 1]
    found: list[dict[str, Any]] = []
    for groups, large in counting:
        above, below = (_sums(groups, groups.of_query, part)[large] for part in (ratio.numerators, ratio.denominators))
        means = above / below
        ends = dict(zip(("worst", "best"), _ends(measure, means), strict=True))
        facts: dict[str, Any] = {"by": groups.by, "measure": measure}
        for name, place in ends.items():
            queries = np.count_nonzero((groups.of_query == large[place]) & (ratio.denominators != 0))
            facts |= {name: groups.labels[large[place]], f"{name}_value": float(means[place])}
            facts[f"{name}_queries"] = int(queries)
        found.append({**facts, "gap": float(abs(means[ends["best"]] - means[ends["worst"]]))})
    as_far = _times_as_far(measure, ratio, counting, [gap["gap"] for gap in found], seed=seed)
    ps = [(1 + times) / (PERMUTATIONS + 1) for times in as_far]
    for gap, p, adjusted in zip(found, ps, holm(ps), strict=True):
        gap |= {"p": p, "p_holm": adjusted, "significant": adjusted < SIGNIFICANT}
    return found


def first_targets(targets: Queries) -> Int32:
    """Return the first target of each query, int32 [B]."""
    return targets.items[targets.offsets[:-1]]


def _large(ratio: Ratio, groups: Groups, least: int) -> Int64:
    """Return the numbers of the groups that have `least` queries with a value."""
    inside = (groups.of_query >= 0) & (ratio.denominators != 0)
    return np.flatnonzero(np.bincount(groups.of_query[inside], minlength=len(groups.labels)) >= least)


def _sums(groups: Groups, of_query: Int32, values: Float32) -> Float64:
    """Return the sum of the values in each group; those in no group are left out."""
    sums = np.bincount(of_query + 1, weights=values, minlength=len(groups.labels) + 1)
    return np.asarray(sums[1:], dtype=np.float64)


def _ends(measure: str, means: Float64) -> tuple[int, int]:
    """Return the places of the worst and the best mean; of equal ones the first is worst, the last is best."""
    worths = [worth(measure, mean) for mean in means]
    return int(np.argmin(worths)), len(worths) - 1 - int(np.argmax(worths[::-1]))


def _times_as_far(
    measure: str, ratio: Ratio, counting: Sequence[tuple[Groups, Int64]], gaps: Sequence[float], *, seed: int
) -> list[int]:
    """Return for each kind in how many permutations of the queries its ends lie at least as far apart as `gaps` says.

    A permutation is drawn once for all kinds, and only for the queries that add to a sum: most have no hit.
    """
    rng = np.random.default_rng(seed)
    even = bool((ratio.denominators == ratio.denominators[:1]).all())  # then permutations leave the lower sums alone
    adds = np.flatnonzero(ratio.numerators if even else ratio.denominators)
    above, below = ratio.numerators[adds], ratio.denominators[adds]
    lower = [_sums(groups, groups.of_query, ratio.denominators)[large] for groups, large in counting]
    times = [0] * len(counting)
    for _ in range(PERMUTATIONS if counting else 0):
        places = rng.choice(len(ratio), len(adds), replace=False)
        for kind, (groups, large) in enumerate(counting):
            of_query = groups.of_query[places]
            sums = lower[kind] if even else _sums(groups, of_query, below)[large]
            nothing = np.zeros(len(large))
            means = np.divide(_sums(groups, of_query, above)[large], sums, out=nothing, where=sums != 0)
            worst, best = _ends(measure, means)
            times[kind] += bool(abs(means[best] - means[worst]) >= gaps[kind] * (1 - 1e-9))
    return times


def _take(array: Float32 | Ratio, inside: Bool) -> Float32 | Ratio:
    return array.take(inside) if isinstance(array, Ratio) else array[inside]


def _column(entities: Entities, column: str, what: str) -> pl.Series:
    known: Sequence[str] = [name for name in entities.frame.columns if name != "id"]
    if column not in known:
        hint = did_you_mean(column, known) if known else "; they have no columns but their ids"
        raise DataError(f"no groups by '{column}': the {what} have no such column{hint}")
    return entities.frame[column]


def _as_numbers(values: pl.Series) -> pl.Series:
    """Return numbers, also those written as texts, as whole numbers where all are; other values as they are.

    Files without types, such as CSV, hold numbers as texts. A blank text is unknown; a leading 0 marks a code.
    """
    if values.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = values.cast(pl.String).str.strip_chars().replace("", None)
        numbers = texts.cast(pl.Float64, strict=False)
        is_code = texts.str.contains(r"^[+-]?0\d").any()
        if is_code or numbers.null_count() > texts.null_count() or not numbers.drop_nulls().is_finite().all():
            return values
    elif values.dtype.is_float():
        numbers = values.fill_nan(None)
    else:
        return values
    known = numbers.drop_nulls()
    whole = len(known) > 0 and bool(((known == known.floor()) & (known.abs() < LARGEST_WHOLE)).all())
    return numbers.cast(pl.Int64) if whole else numbers


def _quartiles(by: str, values: pl.Series) -> Groups:
    """Cut numbers at the quartiles of those that are known; equal quartiles make one cut."""
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    cuts = np.unique(np.quantile(known, [0.25, 0.5, 0.75]))
    if values.dtype.is_integer():
        cuts = np.unique(np.floor(cuts))
    numbers = np.searchsorted(cuts, values.cast(pl.Float64).fill_null(0).to_numpy(), side="left")
    numbers[values.is_null().to_numpy()] = len(cuts) + 1
    labels = _whole_ranges([int(cut) for cut in cuts]) if values.dtype.is_integer() else _ranges(cuts)
    return Groups(by, (*labels, UNKNOWN), numbers.astype(np.int32))


def _ranges(cuts: Float64) -> list[str]:
    words = [f"{cut:,.6g}" for cut in cuts]
    between = [f"above {low} to {high}" for low, high in pairwise(words)]
    return [f"up to {words[0]}", *between, f"above {words[-1]}"]


def _whole_ranges(cuts: Sequence[int]) -> list[str]:
    """Name ranges of whole numbers by the first and the last of each."""
    between = [
        _whole(high) if low + 1 == high else f"{_whole(low + 1)} to {_whole(high)}" for low, high in pairwise(cuts)
    ]
    return [f"up to {_whole(cuts[0])}", *between, f"{_whole(cuts[-1] + 1)} and more"]


def _whole(number: int) -> str:
    """Return a number with its thousands apart, but for four digits, which may be a year."""
    return f"{number:,}" if abs(number) >= 10_000 else f"{number}"


def _numbers(words: pl.Series, labels: Sequence[str]) -> Int32:
    return words.cast(pl.Enum(labels)).to_physical().cast(pl.Int32).to_numpy()
