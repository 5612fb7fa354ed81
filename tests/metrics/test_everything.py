"""All measures in one call, the catalogue behind them, and the page that defines them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tastemaker import metrics
from tastemaker.data import Dataset, Holdout, Queries
from tastemaker.data.splits import leave_one_out
from tastemaker.errors import DataError
from tastemaker.metrics import Catalogue
from tastemaker.models.collaborative.popular import Popular
from tastemaker.testing import HashEncoder, tiny_shop

PAGE = Path(__file__).resolve().parents[2] / "docs" / "measures.md"


@pytest.fixture(scope="module")
def split():
    return leave_one_out(tiny_shop())


@pytest.fixture(scope="module")
def known(split):
    titles = [title or "" for title in split.train.items.frame["title"]]
    return Catalogue.of(split.train, vectors=HashEncoder().encode(titles, kind="document"))


@pytest.fixture(scope="module")
def ranking(split):
    return Popular().fit(split.train).rank(split.test.queries, 10)


@pytest.fixture(scope="module")
def measured(ranking, split, known):
    return metrics.everything(ranking, split.test, known, (10, 5))


def test_every_measure_is_there(measured):
    """At both ks, in range, with the interval around the value where one can be drawn."""
    base = {name.partition("@")[0] for name in measured.summary}
    assert base == set(metrics.BETTER) - {"mae", "rmse"}
    assert set(measured.summary) == {f"{name}@{k}" for name in base for k in (5, 10)} == set(measured.queries)
    over_all = {f"{name}@{k}" for name in ("coverage", "category_coverage", "gini") for k in (5, 10)}
    for name, found in measured.summary.items():
        assert set(found) == {"value", "low", "high"}
        if name in over_all:
            assert found["low"] is found["high"] is None
        else:
            assert found["low"] <= found["value"] <= found["high"], name
    assert json.loads(json.dumps(measured.summary)) == measured.summary
    assert json.loads(json.dumps(measured.curves)) == measured.curves


def test_the_summary_is_the_mean_of_the_queries_that_count(measured, split):
    assert set(measured.values) == {*measured.per_query, *measured.ratios}
    for name, values in measured.per_query.items():
        assert values.shape == (len(split.test),)
        assert values.dtype == np.float32
        assert measured.summary[name]["value"] == pytest.approx(float(np.nanmean(values)), rel=1e-6)
        assert measured.queries[name] == np.count_nonzero(~np.isnan(values))
        assert metrics.bootstrap_interval(values)[0] == pytest.approx(measured.summary[name]["low"], rel=1e-5)


def test_the_seed_is_that_of_the_resamples(measured, ranking, split, known):
    other = metrics.everything(ranking, split.test, known, (5, 10), seed=1)
    assert other.summary["recall@5"]["value"] == measured.summary["recall@5"]["value"]
    assert other.summary["recall@5"] != measured.summary["recall@5"]


def test_the_parts_are_those_of_the_single_functions(measured, ranking, split, known):
    for name, values in metrics.per_query(ranking, split.test.targets, (5, 10)).items():
        assert np.array_equal(measured.per_query[name], values), name
    assert measured.summary["coverage@10"]["value"] == metrics.coverage(ranking.items, len(known))
    shown = metrics.times_listed(ranking.items, len(known))
    assert measured.summary["gini@10"]["value"] == pytest.approx(metrics.gini(shown))
    assert measured.curves["lorenz"] == metrics.lorenz(shown)
    assert measured.curves["coverage"][4] == [5, measured.summary["coverage@5"]["value"]]
    assert measured.summary["serendipity@5"]["value"] < measured.summary["recall@5"]["value"]


def test_best_sellers_are_more_popular_than_histories(split, known):
    """Unmasked, so that shoppers are shown the best-sellers that they have."""
    lists = Popular().fit(split.train).rank(split.test.queries, 5, seen=True)
    found = metrics.everything(lists, split.test, known, (5,)).summary
    assert found["popularity_lift@5"]["low"] > 0
    assert found["serendipity@5"]["value"] == 0
    assert found["recall@5"]["value"] > 0


def test_what_cannot_be_measured_is_said(ranking_of):
    """One shopper, items without any column: no interval, no diversity, no categories, no revenue."""
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"]}))
    holdout = Holdout(Queries.from_lists([[0, 1]]), Queries.from_lists([[2]]))
    measured = metrics.everything(ranking_of([[]], 2), holdout, Catalogue.of(data), (2,))
    assert measured.summary["ndcg@2"] == {"value": 0.0, "low": None, "high": None}
    assert measured.summary["novelty@2"] == {"value": None, "low": None, "high": None}
    assert measured.summary["gini@2"]["value"] is None
    assert measured.queries["novelty@2"] == 0
    assert measured.curves["lorenz"] == []
    assert not any(name.startswith(("diversity", "category", "revenue")) for name in measured.summary)
    assert [note.partition(":")[0] for note in measured.notes] == [
        "no diversity",
        "no category measures and no miscalibration",
        "no revenue measures",
    ]


def test_bad_input_is_named(ranking, split, known, ranking_of):
    one = Holdout(Queries.from_lists([[0]]), Queries.from_lists([[1]]))
    nobody = Holdout(Queries.from_lists([]), Queries.from_lists([]))
    aimless = Holdout(Queries.from_lists([[0]]), Queries.from_lists([[]]))
    cases = [
        ((ranking, split.test, known, (0, 5)), "k must be at least 1, got 0, 5"),
        ((ranking, split.test, known, ()), "k must be at least 1, got none"),
        ((ranking.take([]), nobody, known, (5,)), "no queries to measure"),
        ((ranking, one, known, (5,)), f"{len(ranking)} lists for 1 queries"),
        ((ranking_of([[2]]), aimless, known, (5,)), "query 0 has no target"),
        ((ranking_of([[40]]), one, known, (5,)), "a list names item number 40, but the catalogue has 40 items"),
    ]
    for arguments, message in cases:
        with pytest.raises(DataError, match=re.escape(message)):
            metrics.everything(*arguments)


def test_catalogue_knows_only_training_data():
    """Users u and v bought a; u twice. b is new. The price of a is unknown."""
    items = pl.DataFrame({"item_id": ["a", "b"], "categories": [["All", "Soap"], None], "price": [None, 2.5]})
    log = pl.DataFrame({"user_id": ["u", "u", "v"], "item_id": ["a", "a", "a"]})
    users = pl.DataFrame({"user_id": ["u", "v", "w"]})
    known = Catalogue.of(Dataset.from_frames(log, items, users))
    assert known.popularity.tolist() == [3, 0]
    assert known.buyers.tolist() == [2, 0]
    assert known.n_users == 2  # w bought nothing
    assert known.categories.tolist() == [0, -1]
    assert known.category_names == ("Soap",)
    assert known.prices.tolist() == pytest.approx([np.nan, 2.5], nan_ok=True)


def test_catalogue_refuses_what_would_make_measures_wrong():
    log = pl.DataFrame({"user_id": ["u"], "item_id": ["a"]})

    def data(price):
        return Dataset.from_frames(log, pl.DataFrame({"item_id": ["a"], "price": [price]}))

    for price, message in ((-1.0, "the price of 'a' is -1.0"), (float("inf"), "is inf"), ("9", "'price' holds String")):
        with pytest.raises(DataError, match=message):
            Catalogue.of(data(price))
    assert Catalogue.of(data(None)).prices is None
    for vectors, message in (
        (np.ones((2, 1), np.float32), r"vectors of shape \(2, 1\) for 1 items"),
        (np.full((1, 2), 3, np.float32), "item number 0 has length 4.243"),
        (np.full((1, 2), np.nan, np.float32), "item number 0 has length nan"),
    ):
        with pytest.raises(DataError, match=message):
            Catalogue.of(data(1.0), vectors=vectors)


def test_the_page_defines_every_measure_and_its_direction():
    rows = re.findall(r"^\| `(\w+)(?:@k)?` \|.*\| (higher|lower|zero) \|", PAGE.read_text(), re.MULTILINE)
    assert dict(rows) == metrics.BETTER
