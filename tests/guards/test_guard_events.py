"""A held-out interaction where it must not be is refused and named; honest splits pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from guard_shops import (
    adding,
    distinct_shop,
    given,
    grocery,
    held_out_row,
    named,
    timeless,
    timeless_shop,
    titled,
)

from tastemaker import guards
from tastemaker.abilities import Traceable
from tastemaker.data import Dataset, Entities, Queries
from tastemaker.data.join import join
from tastemaker.data.splits import SPLITS, Holdout, leave_one_out
from tastemaker.data.splits.variants import novel_targets, shuffled_ties, without_repeats
from tastemaker.errors import DataError, LeakError
from tastemaker.models.collaborative.popular import Popular
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import tiny_shop


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (tiny_shop, "temporal"),
        *((make, name) for make in (tiny_shop, distinct_shop, timeless_shop) for name in SPLITS if name != "temporal"),
    ],
)
def test_honest_splits_pass(make, name):
    data = make()
    if name == "as-given":
        data = data.with_log(
            data.log.with_columns(split=pl.Series(["train", "train", "valid", "test"]).gather(np.arange(len(data)) % 4))
        )
    for variant in (data, shuffled_ties(data)[0], without_repeats(data)[0]):
        split = SPLITS[name](variant)
        guards.check_all(None, split)
    guards.check_all(None, novel_targets(SPLITS[name](data)).with_facts(repeats="novel"))


@pytest.mark.parametrize("make", [tiny_shop, distinct_shop])
@pytest.mark.parametrize("side", ["train", "refit"])
def test_a_test_interaction_in_training_data(make, side):
    split = leave_one_out(make())
    row, (user, item) = held_out_row(split)
    leaky = replace(split, **{side: adding(getattr(split, side), row)})
    with pytest.raises(LeakError, match=r"test targets are interactions of train.*: 1 row ") as caught:
        guards.check_split(leaky)
    assert caught.value.rows == (named(split, user, item),)
    assert named(split, user, item) in str(caught.value)
    assert isinstance(caught.value, DataError)


def test_a_validation_interaction_in_train():
    split = leave_one_out(tiny_shop())
    with pytest.raises(LeakError, match=r"validation targets are interactions of train as well:"):
        guards.check_split(replace(split, train=split.refit))


def test_only_five_rows_are_shown():
    split = leave_one_out(tiny_shop())
    with pytest.raises(LeakError, match=rf"{len(split.validation)} rows .*; \.\.\.\)") as caught:
        guards.check_split(replace(split, train=split.refit))
    assert str(caught.value).count("user ") == 5


@pytest.mark.parametrize("make", [tiny_shop, distinct_shop])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_target_in_its_own_history(make, part):
    split = leave_one_out(make())
    holdout = getattr(split, part)
    first = [*holdout.queries.history(0), *holdout.targets.history(0)]
    histories = [first, *list(holdout.queries)[1:]]
    queries = Queries.from_lists(histories, users=holdout.queries.users)
    leaky = replace(split, **{part: replace(holdout, queries=queries)})
    with pytest.raises(LeakError, match=f"{part} targets are in their own history: 1 row") as caught:
        guards.check_split(leaky)
    assert caught.value.rows == (named(split, holdout.who()[0], holdout.targets.items[0]),)


def test_a_target_in_the_history_of_an_unknown_shopper():
    split = leave_one_out(distinct_shop())
    test = split.test
    histories = [
        [*old, *new] if row < 20 else old for row, (old, new) in enumerate(zip(test.queries, test.targets, strict=True))
    ]
    anonymous = Holdout(Queries.from_lists(test.queries), test.targets)
    assert guards.check_split(replace(split, test=anonymous))["test_questions_of_unknown_shoppers"] == len(test)
    with pytest.raises(LeakError, match=r"in their own history: 20 rows \(question 0, item 'i\d+'"):
        guards.check_split(replace(split, test=replace(anonymous, queries=Queries.from_lists(histories))))


def test_repeats_that_the_protocol_rules_out():
    """In log and history alike, so only the stated policy tells; the cure is not to state it."""
    split = leave_one_out(timeless(tiny_shop(users=200)))
    guards.check_split(split.with_facts(repeats="count"))
    for policy in ("exclude", "novel"):
        with pytest.raises(LeakError, match=r"targets are interactions of train as well.*Take them out of train$"):
            guards.check_split(split.with_facts(repeats=policy))


def test_genuine_repeats_are_no_leak():
    frame = pl.DataFrame({"user_id": list("aaaabbb"), "item_id": list("xyzxxyz")})
    guards.check_split(leave_one_out(Dataset.from_frames(frame)))
    guards.check_split(leave_one_out(Dataset.from_frames(frame.with_columns(timestamp=pl.int_range(7)))))


def test_two_rows_of_one_basket_are_counted():
    frame = pl.DataFrame({"user_id": list("aaaa"), "item_id": list("xyzz"), "timestamp": [1, 2, 3, 3]})
    assert guards.check_split(leave_one_out(Dataset.from_frames(frame)))["test_targets_recorded_twice"] == 1
    split = leave_one_out(grocery(rows_twice=0.2))
    assert 50 < guards.check_split(split)["test_targets_recorded_twice"] < len(split.test) / 2


@pytest.mark.parametrize("name", ["leave-one-out", "user-cold"])
def test_honest_repeats_pass(name):
    for seed in range(3):
        for data in (grocery(seed=seed), grocery(seed=seed, rows_twice=0.2)):
            guards.check_split(SPLITS[name](data))
            guards.check_split(SPLITS[name](timeless(data)))


def test_a_repeat_among_thousands_is_no_leak():
    rng = np.random.default_rng(3)
    rows = [(f"u{user}", f"p{item}") for user in range(1500) for item in rng.choice(20_000, 6)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    assert log.is_duplicated().sum() == 2
    guards.check_split(leave_one_out(Dataset.from_frames(log)))


@pytest.mark.parametrize("change", [{}, {"seconds": 1}, {"seconds": -400 * 86_400}, {"blank": True}])
@pytest.mark.parametrize("data", [without_repeats(tiny_shop(users=300))[0], grocery()])
def test_copies_of_test_rows_in_train(data, change):
    guards.check_split(given(data, copied=0))
    with pytest.raises(LeakError, match="test targets are interactions of train as well") as caught:
        guards.check_split(given(data, **change))
    copied = given(data, **change).test
    assert named(given(data, **change), copied.who()[0], copied.targets.items[0]) in caught.value.rows


@pytest.mark.parametrize("repeats", [0, 1])
def test_copies_without_times_are_seen_beside_a_true_repeat(repeats):
    data = distinct_shop(users=200)
    first = data.log.filter(pl.col("user") == data.log["user"].max()).head(repeats)
    data = data.with_log(pl.concat([data.log, *[first] * 2]).sort("user", maintain_order=True))
    guards.check_split(given(data, copied=0))
    with pytest.raises(LeakError, match="test targets are interactions of train as well"):
        guards.check_split(given(data, copied=0.3))


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("make", [lambda: without_repeats(tiny_shop(users=300))[0], grocery])
def test_targets_in_the_histories_of_cold_shoppers(make, part):
    split = SPLITS["user-cold"](make())
    guards.check_split(split)
    holdout = getattr(split, part)
    histories = [[*old, *new] for old, new in zip(holdout.queries, holdout.targets, strict=True)]
    queries = Queries.from_lists(histories, users=holdout.queries.users)
    with pytest.raises(LeakError, match=f"{part} targets are in their own history"):
        guards.check_split(replace(split, **{part: replace(holdout, queries=queries)}))


@pytest.mark.parametrize("repeats", [0, 1])
def test_test_targets_asked_in_validation_beside_a_true_repeat(repeats):
    data = distinct_shop(users=200)
    data = data.with_log(pl.concat([data.log.head(repeats), data.log]).sort("user", maintain_order=True))
    split = leave_one_out(data)
    with pytest.raises(LeakError, match="test interactions are among the validation questions"):
        guards.check_split(replace(split, validation=split.test.take(np.arange(len(split.test))[::-1])))


@pytest.mark.parametrize("make", [tiny_shop, distinct_shop])
def test_test_items_in_the_validation_choice(make):
    split = leave_one_out(make())
    with pytest.raises(LeakError, match="validation asks the very questions of test"):
        guards.check_split(replace(split, validation=split.test))
    chosen = replace(split.test, queries=split.validation.queries)
    with pytest.raises(LeakError, match="test interactions are among the validation questions"):
        guards.check_split(replace(split, validation=chosen))
    histories = [
        [*history, target] for history, target in zip(split.validation.queries, split.test.targets.items, strict=True)
    ]
    queries = Queries.from_lists(histories, users=split.validation.queries.users)
    with pytest.raises(
        LeakError, match=r"test interactions are among the validation questions|targets are in their own history"
    ):
        guards.check_split(replace(split, validation=replace(split.validation, queries=queries)))


def test_cold_shoppers_in_training_data():
    data = tiny_shop()
    split = SPLITS["user-cold"](data)
    user = split.test.shoppers[0]
    theirs = data.log.filter(pl.col("user") == user).head(1)
    for side, where in (("train", "train"), ("refit", r"train \+ validation")):
        with pytest.raises(LeakError, match=f"interactions of held-out shoppers are in {where}: 1 row") as caught:
            guards.check_split(replace(split, **{side: adding(getattr(split, side), theirs)}))
        assert caught.value.rows == (named(split, user, theirs["item"][0]),)


def test_cold_products_in_training_data_and_histories():
    data = tiny_shop(users=200)
    split = SPLITS["item-cold"](data)
    item = split.test.targets.items[0]
    user = next(user for user in range(data.n_users) if user not in set(split.test.shoppers))
    row, _ = held_out_row(split)
    row = row.with_columns(pl.lit(user, dtype=pl.Int32).alias("user"))
    with pytest.raises(LeakError, match="held-out products are in train: 1 row") as caught:
        guards.check_split(replace(split, train=adding(split.train, row)))
    assert caught.value.rows == (named(split, user, item),)
    other = split.test.targets.items[split.test.targets.items != item][0]
    row = next(row for row in range(len(split.test)) if other not in split.test.targets.history(row))
    histories = [[*history, other] if n == row else history for n, history in enumerate(split.test.queries)]
    queries = Queries.from_lists(histories, users=split.test.queries.users)
    with pytest.raises(LeakError, match="held-out products are in test histories: 1 row"):
        guards.check_split(replace(split, test=replace(split.test, queries=queries)))


def test_history_after_the_target_is_said():
    words = ["test", "train", "train", "valid"] * 3
    frame = pl.DataFrame({"user_id": list("aaaabbbbcccc"), "item_id": list("wxyz") * 3, "timestamp": range(12)})
    split = SPLITS["as-given"](Dataset.from_frames(frame.with_columns(split=pl.Series(words))))
    assert guards.check_split(split)["test_questions_with_later_training_data"] == 3
    assert guards.check_split(leave_one_out(tiny_shop())) == {
        "test_targets_recorded_twice": 0,
        "test_questions_of_unknown_shoppers": 0,
        "test_questions_with_later_training_data": 0,
    }


def test_pairs_that_a_model_was_tuned_on():
    split = leave_one_out(tiny_shop())
    users, items = (split.refit.log[name].to_numpy() for name in ("user", "item"))
    guards.check_pairs((users, items), split, what="tuning pairs", refit=True)
    with pytest.raises(LeakError, match=r"among the tuning pairs: .*from split\.train only"):
        guards.check_pairs((users, items), split, what="tuning pairs")
    secret = next(
        row
        for row in range(len(split.test))
        if not np.isin(split.test.targets.history(row), items[users == split.test.who()[row]]).any()
    )
    user, item = split.test.who()[secret], split.test.targets.history(secret)[0]
    with pytest.raises(LeakError, match="held-out interactions among the codebook: 1 row") as caught:
        guards.check_pairs((np.append(users, user), np.append(items, item)), split, what="codebook", refit=True)
    assert caught.value.rows == (named(split, user, item),)


class Tuned(Popular):
    """A plug-in that was tuned on test interactions."""

    def __init__(self, split):
        super().__init__()
        self.pairs = split.test.who(), split.test.targets.items[split.test.targets.offsets[:-1]]

    def learnt_from(self):
        return {"tuning pairs": self.pairs}


def test_all_that_a_pipeline_was_tuned_on():
    split = leave_one_out(distinct_shop())
    model = Tuned(split)
    assert isinstance(model, Traceable)
    assert not isinstance(Popular(), Traceable)
    with pytest.raises(LeakError, match="held-out interactions among the tuning pairs of popular"):
        guards.check_fitted(Pipeline([Stage(model)]).fit(split.train), split)


def test_a_shop_hidden_among_joined_ones_is_no_other_shop():
    here, other = leave_one_out(titled()), titled(users=30)
    with pytest.raises(LeakError, match="in the log of the shop that is learnt from"):
        guards.check_other_shop(leave_one_out(join({"a": other, "b": titled()})), here)


def test_joined_shops_that_number_alike_are_other_shops():
    here, other = leave_one_out(titled()), titled(users=30)
    renamed = Dataset(other.users, Entities(other.items.frame.with_columns(pl.col("title") + " (new)")), other.log)
    guards.check_other_shop(leave_one_out(join({"a": renamed, "b": renamed})), here)
