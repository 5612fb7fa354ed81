"""Splits against hand-worked tables, and a leak check over random logs."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Dataset, Queries
from tastemaker.data.splits import SPLITS, Holdout, as_given, leave_one_out, temporal
from tastemaker.errors import DataError


def shop(rows, **columns):
    """Rows of (user, item, time)."""
    users, items, times = zip(*rows, strict=True)
    return Dataset.from_frames(pl.DataFrame({"user_id": users, "item_id": items, "timestamp": times, **columns}))


def table(data, holdout):
    """{user: (history, targets)} in ids."""
    return {
        data.users.ids([user])[0]: ("".join(data.items.ids(history)), "".join(data.items.ids(targets)))
        for user, history, targets in zip(holdout.queries.users, holdout.queries, holdout.targets, strict=True)
    }


def histories(data):
    return {
        data.users.ids([row])[0]: "".join(data.items.ids(items))
        for row, items in enumerate(data.queries())
        if len(items)
    }


ROWS = [
    *(("u", item, time) for item, time in (("d", 40), ("a", 10), ("b", 20), ("c", 30))),
    *(("v", item, time) for item, time in (("a", 11), ("b", 41))),
    *(("w", item, time) for item, time in (("a", 12), ("a", 22), ("c", 32))),
]


def test_leave_one_out():
    data = shop(ROWS)
    split = leave_one_out(data)
    assert histories(split.train) == {"u": "ab", "v": "ab", "w": "a"}
    assert table(data, split.validation) == {"u": ("ab", "c"), "w": ("a", "a")}
    assert table(data, split.test) == {"u": ("abc", "d"), "w": ("aa", "c")}
    assert split.protocol == {
        "split": "leave-one-out",
        "users_too_short": 1,
        "users": 3,
        "items": 4,
        "train_interactions": 5,
        "validation_interactions": 2,
        "test_interactions": 2,
        "data_fingerprint": data.fingerprint,
    }


def test_temporal():
    data = shop(ROWS)
    split = temporal(data, validation=0.25, test=0.25)  # 9 rows: cuts at the times of rank 4 and 6
    assert (split.protocol["validation_from"], split.protocol["test_from"]) == (22, 32)
    assert histories(split.train) == {"u": "ab", "v": "a", "w": "a"}
    assert table(data, split.validation) == {"u": ("ab", "c"), "w": ("a", "a")}
    assert table(data, split.test) == {"u": ("abc", "d"), "v": ("a", "b"), "w": ("aa", "c")}


def test_equal_times_go_to_the_later_part_together():
    data = shop([("u", "a", 1), ("v", "a", 2), ("u", "b", 3), ("v", "b", 3), ("u", "c", 4), ("v", "c", 4)])
    split = temporal(data, validation=0.3, test=0.3)
    assert split.protocol["train_interactions"] == 2
    assert split.protocol["validation_interactions"] == 2


@pytest.mark.parametrize(("train", "valid"), [("training", "val"), ("Train", "dev"), ("train", "VALID")])
def test_as_given_knows_the_usual_words(train, valid):
    data = shop([("u", item, time) for time, item in enumerate("abc")], split=[train, valid, "test"])
    assert table(data, as_given(data).validation) == {"u": ("a", "b")}


def test_as_given_keeps_the_order_of_time():
    words = ["test", "train", " Validation ", "train"]
    data = shop([("u", item, time) for item, time in zip("abcd", (1, 2, 3, 4), strict=True)], split=words)
    split = as_given(data)
    assert histories(split.train) == {"u": "bd"}
    assert table(data, split.validation) == {"u": ("bd", "c")}
    assert table(data, split.test) == {"u": ("bcd", "a")}
    tied = as_given(shop([("u", item, 1) for item in "abcd"], split=words))
    assert table(data, tied.test) == {"u": ("bdc", "a")}
    timeless = as_given(shop([("u", item, None) for item in "abcd"], split=words))
    assert table(data, timeless.test) == {"u": ("bdc", "a")}


def test_as_given_without_validation_takes_the_newest_of_train():
    rows = [*(("u", item, time) for time, item in enumerate("abcd")), ("v", "a", 0), ("v", "b", 1), ("w", "a", 5)]
    data = shop(rows, split=["train", "test", "train", "train", "train", "test", "train"])
    split = as_given(data)
    assert histories(split.train) == {"u": "ac", "v": "a", "w": "a"}
    assert table(data, split.validation) == {"u": ("ac", "d")}
    assert table(data, split.test) == {"u": ("acd", "b"), "v": ("a", "b")}
    assert split.protocol["validation_rows"] == "none given: the newest train row of each shopper with at least 2"
    assert split.protocol["data_fingerprint"] == data.fingerprint
    given = as_given(shop(rows, split=["train", "valid", "train", "test", "train", "test", "train"]))
    assert "validation_rows" not in given.protocol


@given(st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdef"), st.integers(0, 9)), min_size=6))
def test_nothing_from_the_future_is_known(rows):
    data = shop(rows)
    for method in (leave_one_out, temporal):
        try:
            split = method(data)
        except DataError:
            continue
        everything = data.queries()
        for holdout in (split.validation, split.test):
            for user, history, targets in zip(holdout.queries.users, holdout.queries, holdout.targets, strict=True):
                whole = everything.history(user).tolist()
                assert len(targets) > 0
                assert [*history, *targets] == whole[: len(history) + len(targets)]
        if method is temporal:
            latest = split.train.log["timestamp"].max()
            assert latest < split.protocol["validation_from"] < split.protocol["test_from"]
        held = len(split.validation.targets.items) + len(split.test.targets.items)
        assert len(split.train) + held == len(data)


@pytest.mark.parametrize(
    ("method", "data", "message"),
    [
        (leave_one_out, shop(ROWS).with_log(shop(ROWS).log.head(0)), "no interactions, so there is nothing to split"),
        (temporal, shop(ROWS).with_log(shop(ROWS).log.head(0)), "no interactions, so there is nothing to split"),
        (leave_one_out, shop(ROWS[4:6]), r"no validation interactions among 2 \(no user has 3 interactions\)"),
        (temporal, shop([("u", "a", None), ("u", "b", 2)]), "1 of 2 interactions have no timestamp"),
        (temporal, shop([("u", "a", 5)] * 9), "no train interactions"),
        (as_given, shop(ROWS), "no column 'split'"),
        (as_given, shop(ROWS, split=["train"] * 8 + ["tset"]), "1 rows say 'tset'; known words: train, valid, test"),
        (as_given, shop(ROWS, split=["train"] * 9), "no row says test; add such rows, or use leave-one-out"),
        (as_given, shop(ROWS, split=["test"] * 9), "no row says train"),
        (as_given, shop(ROWS[4:6], split=["train", "test"]), "no shopper has 2 rows that say train.*mark some rows"),
    ],
)
def test_impossible_splits_say_why(method, data, message):
    with pytest.raises(DataError, match=message):
        method(data)


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 0), (0.5, 0.5)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(DataError, match="must be positive and sum to less than 1"):
        temporal(shop(ROWS), validation=shares[0], test=shares[1])


def test_a_sample_is_some_of_the_questions_in_order():
    data = shop([(f"u{n}", item, time) for n in range(30) for time, item in enumerate("abc")])
    test = leave_one_out(data).test
    sample = test.sample(7, seed=3)
    users = sample.queries.users.tolist()
    assert len(sample) == 7
    assert users == sorted(set(users))
    assert test.sample(7, seed=3).queries.users.tolist() == users != test.sample(7, seed=4).queries.users.tolist()
    assert test.sample(99) is test


def test_questions_know_who_asks_and_when_the_target_was_bought():
    data = shop(ROWS)
    test = temporal(data, validation=0.25, test=0.25).test
    assert data.users.ids(test.shoppers) == ["u", "v", "w"]
    assert test.times.tolist() == [40, 41, 32]
    some = test.take([2, 0])
    assert (data.users.ids(some.who()), some.times.tolist()) == (["w", "u"], [32, 40])
    assert leave_one_out(shop([(user, item, None) for user, item, _ in ROWS])).test.times is None
    assert Holdout(Queries.from_lists([[1]]), Queries.from_lists([[2]])).who().tolist() == [-1]


def test_times_stay_with_their_targets():
    data = shop(
        [("u", item, time) for time, item in enumerate("abcd")] + [("v", item, time) for time, item in enumerate("ab")]
    )
    whole = Holdout(Queries.from_lists([[], []]), data.queries(), times=data.log["timestamp"].to_numpy())
    assert whole.take([1, 0]).times.tolist() == [0, 1, 0, 1, 2, 3]
    assert whole.take(slice(1, 2)).times.tolist() == [0, 1]


@pytest.mark.parametrize("name", SPLITS)
def test_every_split_takes_a_seed_and_says_its_name(name):
    words = ["train", "train", "valid", "test"] * 10
    data = shop([(f"u{n % 10}", f"i{n % 7}", n) for n in range(40)], split=words)
    split, again = SPLITS[name](data, seed=5), SPLITS[name](data, seed=5)
    assert split.protocol == again.protocol
    assert (split.protocol["split"], split.protocol["data_fingerprint"]) == (name, data.fingerprint)
    assert split.test.targets.items.tolist() == again.test.targets.items.tolist()
    assert split.with_facts(ties="file").protocol == {**split.protocol, "ties": "file"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"targets": Queries.from_lists([[1]])}, "targets for each question: 2 and 1"),
        ({"shoppers": Queries.from_lists([[1]]).items}, "one shopper a question: 2 and 1"),
        ({"times": Queries.from_lists([[1]]).offsets[:1]}, "one time a target: 3 and 1"),
    ],
)
def test_a_holdout_that_does_not_fit_together_is_refused(parts, message):
    with pytest.raises(DataError, match=message):
        Holdout(Queries.from_lists([[0], [1]]), **{"targets": Queries.from_lists([[1], [2, 3]]), **parts})
