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
    """1.5 to 16.5 and one unknown: quartiles 5.25, 9, 12.75."""
    users = users_with(weight=[*np.arange(1.5, 17), None])
    groups = metrics.by_user("weight", asked_by(range(17)), users)
    assert groups.labels == ("up to 5.25", "above 5.25 to 9", "above 9 to 12.75", "above 12.75", "unknown")
    assert np.bincount(groups.of_query).tolist() == [4, 4, 4, 4, 1]


@pytest.mark.parametrize("as_text", [False, True])
def test_whole_numbers_are_cut_between_whole_numbers_also_where_a_file_holds_texts(as_text):
    """Ages 1 to 16 and one unknown: quartiles 4.75, 8.5, 12.25."""
    ages = [*range(1, 17), None]
    users = users_with(age=[" " if age is None else f"{age}.0 " for age in ages] if as_text else ages)
    groups = metrics.by_user("age", asked_by(range(17)), users)
    assert groups.labels == ("up to 4", "5 to 8", "9 to 12", "13 and more", "unknown")
    assert np.bincount(groups.of_query).tolist() == [4, 4, 4, 4, 1]


def test_a_range_of_one_number_and_large_numbers():
    """Quartiles 3, 10,000 and 20,003.75."""
    spent = [2] * 4 + [3] * 4 + [10_000] * 4 + [*range(20_000, 20_010)]
    groups = metrics.by_user("spent", asked_by(range(12 + 4)), users_with(spent=spent[:16]))
    assert groups.labels == ("2", "3", "10000", "20000", "20001", "20002", "20003", "unknown")
    cut = metrics.by_user("spent", asked_by(range(22)), users_with(spent=spent))
    assert cut.labels == ("up to 3", "4 to 10,000", "10,001 to 20,003", "20,004 and more", "unknown")


@pytest.mark.parametrize(
    "codes", [[f"{code:05}" for code in range(1, 30)], [*map(str, range(29)), "n/a"], ["inf"] * 20]
)
def test_texts_that_are_no_numbers_stay_texts(codes):
    """Codes with a leading 0, a word among numbers, and what only a programming language takes for a number."""
    groups = metrics.by_user("code", asked_by(range(len(codes))), users_with(code=codes))
    assert set(groups.labels) <= {*codes, "other", "unknown"}


def test_few_numbers_as_texts_are_in_the_order_of_numbers():
    groups = metrics.by_user("plan", asked_by([0, 1, 2]), users_with(plan=["10", "9", None]))
    assert groups.labels == ("9", "10", "unknown")
    assert names(groups) == ["10", "9", "unknown"]


def test_equal_quartiles_make_one_cut():
    groups = metrics.by_user(
        "spent", asked_by(range(33)), users_with(spent=[0.0] * 20 + [*map(float, range(1, 13)), None])
    )
    assert groups.labels == ("up to 0", "1 to 4", "5 and more", "unknown")
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


def dealt(**sizes):
    """Return groups of consecutive queries; the name "none" is no group."""
    numbers = [-1 if name == "none" else place for place, name in enumerate(sizes)]
    return Groups("kind", tuple(sizes), np.repeat(np.array(numbers, dtype=np.int32), list(sizes.values())))


def test_gaps_by_hand():
    """Groups of 30 and 40 queries count, one of 19 does not; f has 6 hits of 30, m 30 of 40."""
    groups = dealt(f=30, m=40, x=19, none=11)
    values = np.repeat([1, 0, 1, 0, 1], [6, 24, 30, 10, 30]).astype(np.float32)
    (gap,) = metrics.gaps("ndcg@10", values, [groups, dealt(all=100)])
    assert (gap["worst"], gap["worst_queries"], gap["best"], gap["best_queries"]) == ("f", 30, "m", 40)
    assert (gap["worst_value"], gap["best_value"], gap["gap"]) == pytest.approx((0.2, 0.75, 0.55))
    assert gap["p"] == gap["p_holm"] == 0.001  # no permutation of 999 is as far
    assert gap["significant"] is True
    (turned,) = metrics.gaps("gini@10", values, [groups])
    assert (turned["worst"], turned["best"]) == ("m", "f")  # lower is better
    assert metrics.gaps("ndcg@10", values, [groups], least=5)[0]["best"] == "x"
    assert metrics.gaps("ndcg@10", values, []) == []


def test_gaps_agree_with_the_exact_test_of_two_groups():
    """The permutation test of a 2 x 2 table is Fisher's exact test; 3 of 25 against 9 of 25."""
    from scipy.stats import fisher_exact

    values = np.repeat([1, 0, 1, 0], [3, 22, 9, 16]).astype(np.float32)
    (gap,) = metrics.gaps("recall@5", values, [dealt(a=25, b=25)])
    expected = fisher_exact([[3, 22], [9, 16]]).pvalue
    assert gap["p"] == pytest.approx(expected, abs=3 * (expected * (1 - expected) / 999) ** 0.5)
    assert gap["significant"] is False


def test_gaps_of_a_ratio_and_of_equal_groups():
    money = metrics.Ratio(np.tile([1, 0], 25).astype(np.float32), np.tile([2, 0], 25).astype(np.float32))
    (gap,) = metrics.gaps("revenue_recall@5", money, [dealt(a=26, b=24)], least=12)
    assert (gap["worst_queries"], gap["best_queries"]) == (13, 12)  # those with a price
    assert (gap["gap"], gap["p"], gap["significant"]) == (0.0, 1.0, False)


def test_gaps_of_luck_are_seldom_significant():
    """Six groups of shoppers who are all alike: 1 in 20 or fewer of such shops may show a significant gap."""
    groups = dealt(a=20, b=30, c=40, d=60, e=150, f=300)
    rng = np.random.default_rng(0)
    shops = [(rng.random(600) < 0.08).astype(np.float32) for _ in range(40)]
    assert sum(metrics.gaps("recall@10", values, [groups])[0]["significant"] for values in shops) <= 5
