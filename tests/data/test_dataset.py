from __future__ import annotations

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tastemaker.data import Dataset
from tastemaker.data.dataset import _by_user
from tastemaker.errors import DataError

ROWS = {"user_id": ["u", "v", "u", "u"], "item_id": ["a", "a", "b", "a"], "timestamp": [30, 5, 10, 20]}


def test_histories_go_by_position_then_time_then_row():
    by_time = Dataset.from_frames(pl.DataFrame(ROWS))
    assert [history.tolist() for history in by_time.queries()] == [[1, 0, 0], [0]]
    by_position = Dataset.from_frames(pl.DataFrame({**ROWS, "position": [0, 0, 2, 1]}))
    assert [history.tolist() for history in by_position.queries()] == [[0, 0, 1], [0]]
    by_row = Dataset.from_frames(pl.DataFrame(ROWS).drop("timestamp"))
    assert [history.tolist() for history in by_row.queries()] == [[0, 1, 0], [0]]


def test_equal_times_keep_the_order_of_the_rows():
    frame = pl.DataFrame({"user_id": ["u"] * 50, "item_id": [f"{n:02}" for n in range(50)], "timestamp": [7] * 50})
    assert Dataset.from_frames(frame).log["item"].to_list() == list(range(50))


def test_without_a_catalogue_numbers_do_not_follow_the_log():
    data = Dataset.from_frames(pl.DataFrame({"user_id": ["u", "u", "v"], "item_id": ["c", "a", "b"]}))
    assert data.items.frame["id"].to_list() == ["a", "b", "c"]
    assert data.log["item"].to_list() == [2, 0, 1]


def test_pandas_and_polars_give_the_same_data():
    left, right = Dataset.from_frames(pl.DataFrame(ROWS)), Dataset.from_frames(pd.DataFrame(ROWS))
    assert left.fingerprint == right.fingerprint


def test_the_catalogue_may_hold_more_than_was_bought_and_never_less():
    items = pl.DataFrame({"item_id": ["cold", "b", "a"], "title": ["C", "B", "A"]})
    data = Dataset.from_frames(pl.DataFrame(ROWS), items)
    assert (data.n_items, data.popularity.tolist()) == (3, [0, 1, 3])
    with pytest.raises(DataError, match="unknown id 'b'"):
        Dataset.from_frames(pl.DataFrame(ROWS), items.filter(pl.col("item_id") != "b"))


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_missing_column_is_named(column):
    with pytest.raises(DataError, match=f"need a column '{column}'; found: "):
        Dataset.from_frames(pl.DataFrame(ROWS).drop(column))


def test_entity_frames_need_their_key():
    with pytest.raises(DataError, match="items need a column 'item_id'; found: title"):
        Dataset.from_frames(pl.DataFrame(ROWS), pl.DataFrame({"title": ["A"]}))


def test_the_matrix_counts_repeats_once_and_ratings_take_the_newest():
    data = Dataset.from_frames(pl.DataFrame({**ROWS, "rating": [1.0, 2.0, 3.0, 4.0]}))
    assert data.matrix().toarray().tolist() == [[1, 1], [1, 0]]
    assert data.ratings().toarray().tolist() == [[1, 3], [2, 0]]
    with pytest.raises(DataError, match="4 of 4 interactions have no value"):
        Dataset.from_frames(pl.DataFrame(ROWS)).ratings()


def test_the_fingerprint_tells_every_part():
    base = {**ROWS, "value": [1.0, None, 0.0, 2.0]}
    others = [
        {**base, "user_id": ["u", "v", "u", "v"]},
        {**base, "item_id": ["a", "a", "a", "b"]},
        {**base, "timestamp": [30, 5, 10, 21]},
        {**base, "value": [1.0, 0.0, None, 2.0]},
    ]
    prints = {Dataset.from_frames(pl.DataFrame(rows)).fingerprint for rows in [base, *others]}
    assert len(prints) == 5
    assert Dataset.from_frames(pl.DataFrame(base)).fingerprint in prints


ITEMS = {"item_id": ["a", "b"], "title": ["A", "B"], "tags": [["x", "y"], ["z"]], "price": [1.5, None]}
USERS = {"user_id": ["u", "v"], "age": [20, 30]}


def test_the_fingerprint_tells_every_column():
    log = {**ROWS, "split": ["train", "train", "valid", "test"]}
    shops = [
        (log, ITEMS, USERS),
        ({**log, "split": ["train", "valid", "train", "test"]}, ITEMS, USERS),
        (ROWS, ITEMS, USERS),
        (log, {**ITEMS, "title": ["A", "C"]}, USERS),
        (log, {**ITEMS, "title": ["AB", ""]}, USERS),
        (log, {**ITEMS, "tags": [["x"], ["y", "z"]]}, USERS),
        (log, {**ITEMS, "tags": [["x", "y", "z"], []]}, USERS),
        (log, {**ITEMS, "tags": [["x", "y", "z"], None]}, USERS),
        (log, {**ITEMS, "tags": [["xy"], ["z"]]}, USERS),
        (log, {**ITEMS, "price": [1.5, 0.0]}, USERS),
        (log, {"item_id": ["a", "b"], "titles": ["A", "B"], "tags": ITEMS["tags"], "price": ITEMS["price"]}, USERS),
        (log, {**ITEMS, "size": [{"w": 1, "h": 2}, {"w": 1, "h": None}]}, USERS),
        (log, {**ITEMS, "size": [{"w": 1, "h": 2}, None]}, USERS),
        (log, {**ITEMS, "nested": [[["x"], ["y"]], []]}, USERS),
        (log, {**ITEMS, "nested": [[["x", "y"]], []]}, USERS),
        (log, ITEMS, {**USERS, "age": [20, 31]}),
    ]
    prints = [Dataset.from_frames(*map(pl.DataFrame, tables)).fingerprint for tables in shops]
    assert len(set(prints)) == len(shops)
    assert Dataset.from_frames(*map(pl.DataFrame, shops[0])).fingerprint == prints[0]


def test_the_fingerprint_does_not_tell_types_and_column_order():
    users = pl.DataFrame(USERS)
    items = pl.DataFrame({**ITEMS, "brand": ["x", "y"]})
    one = Dataset.from_frames(pl.DataFrame(ROWS), items, users)
    other = Dataset.from_frames(
        pl.DataFrame(ROWS),
        items.select("brand", "price", "tags", "title", "item_id").with_columns(
            pl.col("brand").cast(pl.Categorical), pl.col("tags").cast(pl.List(pl.Categorical))
        ),
        users.with_columns(pl.col("age").cast(pl.UInt8)),
    )
    assert one.fingerprint == other.fingerprint


times = st.none() | st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 5), times), max_size=12))
def test_the_packed_order_is_that_of_two_columns(rows):
    log = pl.DataFrame(rows, schema={"user": pl.Int32, "timestamp": pl.Int64}, orient="row").with_row_index("row")
    expected = log.sort("user", "timestamp", maintain_order=True, nulls_last=True)
    assert _by_user(log, 6, "timestamp").equals(expected)
