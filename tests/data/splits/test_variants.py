"""Variants change what they name, and nothing else."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Dataset, Queries
from tastemaker.data.splits import as_given, leave_one_out
from tastemaker.data.splits.variants import novel_targets, renumbered, shuffled_ties, without_repeats
from tastemaker.errors import DataError
from tastemaker.testing import tiny_shop


def shop(rows, **columns):
    users, items, times = zip(*rows, strict=True)
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": times}, schema=schema)
    return Dataset.from_frames(frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()}))


def in_ids(data):
    """Rows of the log with ids for numbers."""
    log = data.log.with_columns(
        pl.Series("user", data.users.ids(data.log["user"])), pl.Series("item", data.items.ids(data.log["item"]))
    )
    return log.rows()


rows = st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdefgh"), st.none() | st.integers(0, 3))


@given(st.lists(rows, min_size=1, max_size=40), st.integers(0, 9))
def test_shuffling_moves_ties_only(rows, seed):
    data = shop(rows, note=[f"n{n}" for n in range(len(rows))])
    shuffled, facts = shuffled_ties(data, seed=seed)
    before, after = in_ids(data), in_ids(shuffled)
    assert sorted(before, key=str) == sorted(after, key=str)
    assert [row[0] for row in before] == [row[0] for row in after]
    assert [row[2] for row in before] == [row[2] for row in after]
    moments = [(row[0], row[2]) for row in before]
    tied = [moments.count(moment) > 1 and moment[1] is not None for moment in moments]
    assert all(one == other for one, other, free in zip(before, after, tied, strict=True) if not free)
    if data.log["timestamp"].count():
        assert facts["interactions_at_a_shared_time"] == sum(tied)


def test_shuffling_reaches_every_order():
    data = shop([("u", item, 1) for item in "abc"] + [("u", "d", 2)])
    orders = {"".join(row[1] for row in in_ids(shuffled_ties(data, seed=seed)[0])) for seed in range(60)}
    assert orders == {f"{order}d" for order in ("abc", "acb", "bac", "bca", "cab", "cba")}


def test_an_order_that_positions_give_stays():
    frame = pl.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc"), "timestamp": [5, 1, 5], "position": [0, 1, 2]})
    data = Dataset.from_frames(frame)
    assert {tuple(row[1] for row in in_ids(shuffled_ties(data, seed=seed)[0])) for seed in range(9)} == {tuple("abc")}


def test_data_without_times_say_so():
    data = shop([("u", item, None) for item in "abc"])
    shuffled, facts = shuffled_ties(data, seed=1)
    assert in_ids(shuffled) == in_ids(data)
    assert facts["order_of_ties"].startswith("as in the file: the data have no times")
    assert facts["interactions_at_a_shared_time"] is None


def test_numbers_change_and_the_shop_does_not():
    data = tiny_shop()
    other = renumbered(data, seed=1)
    assert in_ids(other) == in_ids(data)
    assert other.items.frame.sort("id").equals(data.items.frame.sort("id"))
    assert other.items.digest != data.items.digest
    assert renumbered(data, seed=1).items == other.items != renumbered(data, seed=2).items


def test_only_first_purchases_stay_without_repeats():
    data = shop([("u", item, time) for time, item in enumerate("abaca")] + [("v", "a", 0)])
    kept, facts = without_repeats(data)
    assert [row[1] for row in in_ids(kept)] == ["a", "b", "c", "a"]
    assert facts == {"repeats_left_out": 2}


def test_novel_targets_by_hand():
    """u's test target is a repeat, v has one repeat of two targets, w's validation target is a repeat."""
    words = {"u": "train train valid test", "v": "train valid test test", "w": "train train valid test"}
    logs = {"u": "abca", "v": "abac", "w": "abbc"}
    rows = [(user, item, time) for user, items in logs.items() for time, item in enumerate(items)]
    split = novel_targets(as_given(shop(rows, split=" ".join(words.values()).split())))
    items, users = split.train.items, split.train.users
    assert users.ids(split.test.who()) == ["v", "w"]
    assert ["".join(items.ids(targets)) for targets in split.test.targets] == ["c", "c"]
    assert ["".join(items.ids(history)) for history in split.test.queries] == ["ab", "abb"]
    assert split.test.times.tolist() == [3, 3]
    assert users.ids(split.validation.who()) == ["u", "v"]
    assert {name: value for name, value in split.protocol.items() if "before" in name or "left_out" in name} == {
        "validation_targets_bought_before": 1,
        "validation_questions_left_out": 1,
        "test_targets_bought_before": 2,
        "test_questions_left_out": 1,
    }


@given(st.lists(rows, min_size=6, max_size=60))
def test_no_novel_target_is_in_its_history(rows):
    data = shop(rows)
    try:
        split = novel_targets(leave_one_out(data))
    except DataError:
        return
    for part in (split.validation, split.test):
        assert (part.targets.lengths > 0).all()
        for history, targets in zip(part.queries, part.targets, strict=True):
            assert not np.isin(targets, history).any()


def test_no_question_left_is_said():
    split = leave_one_out(shop([("u", item, time) for time, item in enumerate("aaaa")]))
    with pytest.raises(DataError, match="no validation question is left: all 1 targets were bought before; count"):
        novel_targets(split)


def test_novel_keeps_histories_whole():
    split = leave_one_out(shop([("u", item, time) for time, item in enumerate("aabbcd")]))
    assert novel_targets(split).test.queries.items.tolist() == split.test.queries.items.tolist()
    assert isinstance(novel_targets(split).test.queries, Queries)
