"""Groups of queries, what the measures are in each, and how far the groups are apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tastemaker.errors import DataError, did_you_mean
from tastemaker.metrics.names import worth
from tastemaker.metrics.statistics import Ratio
from tastemaker.metrics.summary import summarise

if TYPE_CHECKING:
    from tastemaker.data.dataset import Dataset
    from tastemaker.data.entities import Entities
    from tastemaker.data.queries import Queries
    from tastemaker.metrics.catalogue import Catalogue
    from tastemaker.types import Bool, Float32, Int32

LENGTHS = ((0, 0), (1, 2), (3, 5), (6, 10), (11, None))
FEW = 12
"""Most distinct values that become a group each."""
MOST_FREQUENT = 8
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

    A product without training interaction has no age and is in no group.
    """
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
    most frequent are a group each and the rest is "other".

    Raises:
        DataError: the values are neither texts, numbers, truth values nor lists of texts.
    """
    if isinstance(values.dtype, pl.List):
        values = values.list.last()
    plain = values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    if not plain:
        raise DataError(f"no groups by '{by}': it holds {values.dtype}; give texts, numbers or truth values")
    if values.dtype.is_float():
        values = values.fill_nan(None)
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


def gaps(rows: Iterable[Mapping[str, Any]], measure: str, *, least: int = 20) -> list[dict[str, Any]]:
    """Return the worst and the best group of each kind of groups, and how far they are apart.

    Args:
        rows: of `by_group`, of one or more kinds.
        measure: such as "ndcg@10".
        least: groups with fewer queries do not count.

    Returns:
        {"by", "measure", "worst", "worst_value", "best", "best_value", "gap"} for each kind with two groups that count.
    """
    kinds: dict[str, list[tuple[str, float]]] = {}
    for row in rows:
        value = row["metrics"][measure]["value"]
        if row["queries"] >= least and value is not None:
            kinds.setdefault(row["by"], []).append((row["group"], value))
    found = []
    for by, groups in kinds.items():
        if len(groups) < 2:
            continue
        ordered = sorted(groups, key=lambda group: worth(measure, group[1]))
        (worst, low), (best, high) = ordered[0], ordered[-1]
        facts = {"worst": worst, "worst_value": low, "best": best, "best_value": high, "gap": abs(high - low)}
        found.append({"by": by, "measure": measure, **facts})
    return found


def first_targets(targets: Queries) -> Int32:
    """Return the first target of each query, int32 [B]."""
    return targets.items[targets.offsets[:-1]]


def _take(array: Float32 | Ratio, inside: Bool) -> Float32 | Ratio:
    return array.take(inside) if isinstance(array, Ratio) else array[inside]


def _column(entities: Entities, column: str, what: str) -> pl.Series:
    known: Sequence[str] = [name for name in entities.frame.columns if name != "id"]
    if column not in known:
        hint = did_you_mean(column, known) if known else "; they have no columns but their ids"
        raise DataError(f"no groups by '{column}': the {what} have no such column{hint}")
    return entities.frame[column]


def _quartiles(by: str, values: pl.Series) -> Groups:
    """Cut numbers at the quartiles of those that are known; equal quartiles make one cut."""
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    cuts = np.unique(np.quantile(known, [0.25, 0.5, 0.75]))
    numbers = np.searchsorted(cuts, values.cast(pl.Float64).fill_null(0).to_numpy(), side="left")
    numbers[values.is_null().to_numpy()] = len(cuts) + 1
    words = [f"{cut:,.6g}" for cut in cuts]
    between = [f"above {low} to {high}" for low, high in pairwise(words)]
    return Groups(by, (f"up to {words[0]}", *between, f"above {words[-1]}", UNKNOWN), numbers.astype(np.int32))


def _numbers(words: pl.Series, labels: Sequence[str]) -> Int32:
    return words.cast(pl.Enum(labels)).to_physical().cast(pl.Int32).to_numpy()
