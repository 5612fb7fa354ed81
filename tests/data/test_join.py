"""Several shops side by side."""

from __future__ import annotations

import polars as pl
import pytest

from tastemaker.data import readers
from tastemaker.data.dataset import Dataset
from tastemaker.data.join import join, merge
from tastemaker.data.writers.canonical import write
from tastemaker.errors import DataError


def shop(bought: dict[str, str], **columns: list) -> Dataset:
    rows = [(user, item) for user, items in bought.items() for item in items]
    items = sorted({item for _, item in rows})
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    return Dataset.from_frames(log, pl.DataFrame({"item_id": items, **columns}))


def test_equal_ids_of_two_shops_stay_apart_and_histories_stay_whole():
    toys = shop({"1": "ba", "2": "a"}, title=["Ball", "Kite"])
    food = shop({"1": "abc"}, brand=["X", "Y", "Z"])
    both = join({"toys": toys, "food": food})
    assert both.users.frame["id"].to_list() == ["toys/1", "toys/2", "food/1"]
    histories = both.queries()
    told = [
        both.items.ids(histories.items[histories.offsets[row] : histories.offsets[row + 1]])
        for row in range(len(histories))
    ]
    assert told == [["toys/b", "toys/a"], ["toys/a"], ["food/a", "food/b", "food/c"]]
    assert both.items.frame["title"].to_list() == ["Ball", "Kite", None, None, None]
    assert both.items.frame["id_in_shop"].to_list() == ["a", "b", "a", "b", "c"]
    assert both.items.frame["shop"].to_list() == ["toys"] * 2 + ["food"] * 3


def test_a_joined_shop_survives_a_folder(tmp_path):
    both = join({"toys": shop({"1": "ba"}), "food": shop({"1": "abc"})})
    back, _ = readers.read(str(write(both, tmp_path / "both")))
    assert back.fingerprint == both.fingerprint


@pytest.mark.parametrize("names", [["only"], ["a/b", "c"], ["", "c"]])
def test_impossible_names_are_refused(names):
    with pytest.raises(DataError, match="join"):
        join({name: shop({"1": "ab"}) for name in names})


def test_a_column_of_two_types_is_named():
    with pytest.raises(DataError, match=r"column 'price' of the items is Float64 in toys and String in food"):
        join({"toys": shop({"1": "ab"}, price=[1.0, 2.0]), "food": shop({"1": "a"}, price=["cheap"])})


def test_shops_joined_twice_are_refused():
    both = join({"toys": shop({"1": "ba"}), "food": shop({"1": "abc"})})
    with pytest.raises(DataError, match="already; join the shops themselves"):
        join({"both": both, "more": shop({"1": "a"})})


def log_of(rows: list[tuple[str, str, int]], items: dict[str, list] | None = None) -> Dataset:
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return Dataset.from_frames(log, None if items is None else pl.DataFrame(items))


def test_logs_of_one_shop_become_one_in_the_order_of_time():
    orders = log_of([("anna", "a", 10), ("anna", "b", 30)], {"item_id": ["a", "b", "cold"], "title": ["A", None, "C"]})
    events = log_of(
        [("ben", "x", 5), ("anna", "x", 20)], {"item_id": ["x", "b"], "title": ["X", "B"], "brand": ["n"] * 2}
    )
    both = merge({"orders": orders, "events": events})
    assert both.users.frame["id"].to_list() == ["anna", "ben"]
    assert both.items.frame.rows() == [("a", "A", None), ("b", "B", "n"), ("cold", "C", None), ("x", "X", "n")]
    assert both.items.ids(both.log["item"]) == ["a", "x", "b", "x"]


def test_logs_that_cannot_be_put_in_order_are_refused():
    timeless = shop({"1": "ab"})
    with pytest.raises(DataError, match="second has interactions without a time"):
        merge({"first": log_of([("1", "a", 1)]), "second": timeless})
    with pytest.raises(DataError, match="1 log; needs at least two"):
        merge({"first": timeless})
