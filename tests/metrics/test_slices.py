"""Groups of queries, their measures and the gaps between them."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from tastemaker import metrics
from tastemaker.data import Dataset, Entities, Queries
from tastemaker.errors import DataError
from tastemaker.metrics import Catalogue, Groups


def names(groups):
    return [None if number < 0 else groups.labels[number] for number in groups.of_query]


def shop(counts, *, times=None):
    """Return a shop in which item i was bought counts[i] times, one shopper each."""
    bought = np.repeat(np.arange(len(counts)), counts)
    log = pl.DataFrame({"user_id": [f"u{row}" for row in range(len(bought))], "item_id": [f"i{i}" for i in bought]})
    if times is not None:
        log = log.with_columns(timestamp=pl.Series(times))
    return Dataset.from_frames(log, pl.DataFrame({"item_id": [f"i{i}" for i in range(len(counts))]}))


def test_history_lengths():
    groups = metrics.by_history_length(Queries.from_lists([[0] * length for length in (0, 1, 2, 3, 5, 6, 10, 11, 99)]))
    assert groups.by == "history length"
    assert groups.labels == ("0", "1-2", "3-5", "6-10", "11+")
    assert names(groups) == ["0", "1-2", "1-2", "3-5", "3-5", "6-10", "6-10", "11+", "11+"]


def test_target_popularity_by_hand():
    """Counts 1, 0, 6, 5, 2, 1, 3, 2 are 20 in all: items 2 and 3 hold 11, and item 2 alone no half: both are the head.

    Of the five others, most popular first 6, 4, 7, 0, 5, the last two are the tail. Item 1 is cold.
    """
    known = Catalogue.of(shop([1, 0, 6, 5, 2, 1, 3, 2]))
    groups = metrics.by_target_popularity(Queries.from_lists([[item] for item in range(8)]), known)
    assert groups.labels == ("cold", "tail", "middle", "head")
    assert names(groups) == ["tail", "cold", "head", "head", "middle", "tail", "middle", "middle"]
    first = metrics.by_target_popularity(Queries.from_lists([[3, 1], [1, 3]]), known)
    assert names(first) == ["head", "cold"]  # the first of several targets counts


def test_target_popularity_of_one_item():
    groups = metrics.by_target_popularity(Queries.from_lists([[0], [1]]), Catalogue.of(shop([3, 0])))
    assert names(groups) == ["head", "cold"]


def test_target_age_by_hand():
    """The period is 0 to 90. First bought at 0, 30, 60, 90; a third has its first moment in it. Item 4 has no age."""
    data = shop([2, 1, 1, 1, 0], times=[0, 80, 30, 60, 90])
    groups = metrics.by_target_age(Queries.from_lists([[item] for item in range(5)]), data)
    assert names(groups) == ["oldest third", "middle third", "newest third", "newest third", None]
    assert metrics.by_target_age(Queries.from_lists([[0]]), shop([1, 1])) is None
    assert metrics.by_target_age(Queries.from_lists([[0]]), shop([1, 1], times=[5, 5])) is None


def users_with(**columns):
    size = len(next(iter(columns.values())))
    return Entities(pl.DataFrame({"id": [f"u{row}" for row in range(size)], **columns}))


def asked_by(users):
    return Queries.from_lists([[0]] * len(users), users=np.array(users, dtype=np.int32))


def test_user_columns_with_few_values():
    users = users_with(sex=["f", None, "m"], adult=[True, False, None], plan=[10, 9, 9])
    assert names(metrics.by_user("sex", asked_by([2, 0, 1, -1]), users)) == ["m", "f", "unknown", "unknown"]
    assert metrics.by_user("adult", asked_by([0, 1]), users).labels == ("false", "true", "unknown")
    assert metrics.by_user("plan", asked_by([0, 1]), users).labels == ("9", "10", "unknown")  # as numbers, not as words


def test_user_column_with_many_numbers_is_cut_at_its_quartiles():
    """Ages 1 to 16 and one unknown: quartiles 4.75, 8.5, 12.25."""
    users = users_with(age=[*range(1, 17), None])
    groups = metrics.by_user("age", asked_by(range(17)), users)
    assert groups.labels == ("up to 4.75", "above 4.75 to 8.5", "above 8.5 to 12.25", "above 12.25", "unknown")
    assert np.bincount(groups.of_query).tolist() == [4, 4, 4, 4, 1]


def test_equal_quartiles_make_one_cut():
    groups = metrics.by_user(
        "spent", asked_by(range(33)), users_with(spent=[0.0] * 20 + [*map(float, range(1, 13)), None])
    )
    assert groups.labels == ("up to 0", "above 0 to 4.25", "above 4.25", "unknown")
    assert np.bincount(groups.of_query).tolist() == [20, 4, 8, 1]


def test_item_columns_keep_the_most_frequent_values():
    """Brand b0 sells most, b1 less, and so on; the 9th and later are other."""
    brands = [f"b{brand}" for brand in range(14) for _ in range(14 - brand)] + [None]
    items = Entities(pl.DataFrame({"id": [str(row) for row in range(len(brands))], "brand": brands}))
    groups = metrics.by_item("brand", Queries.from_lists([[row] for row in range(len(brands))]), items)
    assert groups.labels == (*(f"b{brand}" for brand in range(8)), "other", "unknown")
    assert names(groups)[0] == "b0"
    assert names(groups)[-2:] == ["other", "unknown"]
    assert np.bincount(groups.of_query).tolist() == [14, 13, 12, 11, 10, 9, 8, 7, 6 + 5 + 4 + 3 + 2 + 1, 1]


def test_items_are_grouped_by_their_most_specific_category():
    frame = pl.DataFrame({"id": ["a", "b", "c", "d"], "categories": [["All", "Soap"], ["All", "Brush"], [], None]})
    groups = metrics.by_item("categories", Queries.from_lists([[0, 1], [1], [2], [3]]), Entities(frame))
    assert names(groups) == ["Soap", "Brush", "unknown", "unknown"]


def test_unknown_columns_and_values_are_refused():
    users = users_with(country=["de", "fr"], born=[date(2000, 1, 1), None])
    with pytest.raises(DataError, match="users have no such column; did you mean 'country'"):
        metrics.by_user("county", asked_by([0]), users)
    with pytest.raises(DataError, match="items have no such column; they have no columns but their ids"):
        metrics.by_item("brand", Queries.from_lists([[0]]), Entities.from_ids(["a"]))
    with pytest.raises(DataError, match="'born': it holds Date"):
        metrics.by_user("born", asked_by([0]), users)
    with pytest.raises(DataError, match="queries do not say which users"):
        metrics.by_user("country", Queries.from_lists([[0]]), users)


def test_measures_by_group():
    """Group a has the values 1, 2 and 3, b has 5 alone, c none; -1 is in no group."""
    groups = Groups("size", ("a", "b", "c"), np.array([0, 1, 0, -1, 0], dtype=np.int32))
    values = np.array([1, 5, 2, 100, 3], dtype=np.float32)
    money = metrics.Ratio(values, np.array([2, 10, 2, 1, 4], dtype=np.float32))
    first, second = metrics.by_group({"ndcg@5": values, "revenue_recall@5": money}, groups)
    assert (first["by"], first["group"], first["queries"]) == ("size", "a", 3)
    low, high = metrics.bootstrap_interval(np.array([1, 2, 3], np.float32))
    assert first["metrics"]["ndcg@5"] == {"value": 2.0, "low": low, "high": high}
    assert first["metrics"]["revenue_recall@5"]["value"] == pytest.approx(6 / 8)
    assert metrics.by_group({"ndcg@5": values}, groups, seed=1)[0]["metrics"] != first["metrics"]
    assert (second["group"], second["queries"]) == ("b", 1)
    assert second["metrics"]["ndcg@5"] == {"value": 5.0, "low": None, "high": None}


def row(by, group, queries, **values):
    return {"by": by, "group": group, "queries": queries, "metrics": {n: {"value": v} for n, v in values.items()}}


def test_gaps():
    rows = [
        row("sex", "f", 30, ndcg=0.2, gini=0.9, popularity_lift=-0.5),
        row("sex", "m", 40, ndcg=0.5, gini=0.4, popularity_lift=0.1),
        row("sex", "x", 19, ndcg=0.0, gini=0.0, popularity_lift=9.0),  # too few to count
        row("age", "old", 99, ndcg=0.3, gini=None, popularity_lift=0.0),
        row("age", "new", 5, ndcg=0.9, gini=None, popularity_lift=0.0),
    ]
    (gap,) = metrics.gaps(rows, "ndcg")
    assert gap.pop("gap") == pytest.approx(0.3)
    expected = {"by": "sex", "measure": "ndcg", "worst": "f", "worst_value": 0.2, "best": "m", "best_value": 0.5}
    assert gap == expected
    assert metrics.gaps(rows, "gini")[0]["worst"] == "f"  # lower is better
    assert metrics.gaps(rows, "popularity_lift")[0]["worst"] == "f"  # nearer to 0 is better
    assert [found["by"] for found in metrics.gaps(rows, "ndcg", least=5)] == ["sex", "age"]
