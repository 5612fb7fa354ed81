"""Shopper texts that tell the target, in any column and in most spellings; tastes and accidents do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from guard_shops import (
    last_items,
    named,
    titled,
    with_users,
)

from tastemaker import guards
from tastemaker.data import Dataset, Entities
from tastemaker.data.splits import SPLITS, leave_one_out
from tastemaker.data.splits.variants import without_repeats
from tastemaker.errors import LeakError
from tastemaker.testing import tiny_shop


def worded(users=200, seed=0):
    """A shop with titles of four made-up words each."""
    rng = np.random.default_rng(seed)
    data = without_repeats(tiny_shop(users=users))[0]
    words = [start + end for start in ("ba", "de", "fi", "go", "hu", "ka") for end in ("lon", "mar", "nis", "pet")]
    titles = [" ".join(rng.choice(words, 4, replace=False)) for _ in range(data.n_items)]
    return Dataset(data.users, Entities(data.items.frame.with_columns(title=pl.Series(titles))), data.log)


def spelt(data, way):
    """The title of each shopper's last item, in some way."""
    titles = data.items.frame["title"].to_list()
    return [None if item is None else way(titles[item]) for item in last_items(data)]


@pytest.mark.parametrize(
    "way",
    [
        lambda title: f"Loves  {title.upper()} most",
        lambda title: title.replace(" ", "-"),
        lambda title: ", ".join(reversed(title.split())),
        lambda title: " ".join(title.split()[:3]),
        lambda title: ["towel", title],
    ],
)
def test_shopper_attributes_that_name_the_target(way):
    data = worded()
    split = leave_one_out(with_users(data, profile=spelt(data, way)))
    with pytest.raises(LeakError, match="shoppers' 'profile' name the test target"):
        guards.check_texts(split)


def test_a_single_word_of_the_target():
    data = worded()
    split = leave_one_out(with_users(data, mood=spelt(data, lambda title: title.split()[2])))
    with pytest.raises(LeakError, match="shoppers' 'mood' have rare words of the test target"):
        guards.check_texts(split)


def test_a_short_title_that_is_the_whole_cell():
    data = worded()
    frame = data.items.frame.with_columns(
        title=pl.col("title").str.slice(0, 4) + pl.int_range(pl.len()).cast(pl.String)
    )
    data = Dataset(data.users, Entities(frame), data.log)
    with pytest.raises(LeakError, match="shoppers' 'next' name the test target"):
        guards.check_texts(leave_one_out(with_users(data, next=spelt(data, str))))


@pytest.mark.parametrize(
    "kind", [pl.Int64, pl.Float64, pl.String, pl.Categorical, pl.List(pl.Int64), pl.Array(pl.Int64, 1), "struct"]
)
def test_columns_of_any_type_that_hold_the_next_id(kind):
    data = titled()
    data = Dataset(
        data.users, Entities(data.items.frame.with_columns(id=pl.int_range(100, 100 + data.n_items))), data.log
    )
    values = pl.Series([None if item is None else item + 100 for item in last_items(data)], dtype=pl.Int64)
    if kind == "struct":
        values = values.to_frame("item").to_struct()
    elif kind in (pl.String, pl.Categorical):
        values = values.cast(pl.String).cast(kind)
    else:
        values = values.reshape((-1, 1)).cast(kind) if kind.is_nested() else values.cast(kind)
    split = leave_one_out(with_users(data, next=values))
    with pytest.raises(LeakError, match="shoppers' 'next' name the test target"):
        guards.check_texts(split)


def fond_shop(seed=0, *, users=500):
    """A grocery whose ids are words; each shopper has a favourite and says so."""
    rng = np.random.default_rng(seed)
    names = ["milk", "bread", "eggs", "butter", "cheese", "apples", "coffee", "tea", "rice", "pasta", "tofu", "fish"]
    rows, tastes = [], []
    for user in range(users):
        favourite = rng.integers(len(names))
        weights = np.where(np.arange(len(names)) == favourite, 6, 1)
        bought = rng.choice(len(names), 12, p=weights / weights.sum())
        rows += [(f"u{user}", names[item], 1_600_000_000 + place) for place, item in enumerate(bought)]
        tastes.append((f"u{user}", f"{names[favourite]}, organic"))
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    shoppers = pl.DataFrame(tastes, schema=["user_id", "favourites"], orient="row")
    return Dataset.from_frames(log, users=shoppers)


@pytest.mark.parametrize("name", ["leave-one-out", "temporal", "user-cold", "item-cold"])
def test_a_declared_taste_is_no_leak(name):
    guards.check_texts(SPLITS[name](fond_shop()))
    guards.check_texts(SPLITS[name](without_repeats(fond_shop())[0]))


def test_a_record_of_all_purchases_is_a_leak():
    data = without_repeats(fond_shop())[0]
    ids = data.items.frame["id"].to_list()
    record = [", ".join(ids[item] for item in history) for history in data.queries()]
    with pytest.raises(LeakError, match=r"shoppers' 'record' name the (validation|test) target"):
        guards.check_texts(leave_one_out(with_users(data, record=record)))
    honest = [", ".join(ids[item] for item in history[:-2]) for history in data.queries()]
    guards.check_texts(leave_one_out(with_users(data, record=honest)))


def test_user_ids_made_from_the_target():
    """The leak of IDGenRec."""
    data = titled()
    ids = [
        f"shopper {n} of {data.items.ids([item])[0]}" if item is not None else str(n)
        for n, item in enumerate(last_items(data))
    ]
    split = leave_one_out(Dataset(Entities.from_ids(ids), data.items, data.log))
    with pytest.raises(LeakError, match="user ids name the test target"):
        guards.check_texts(split)


def test_wishes_that_name_the_target():
    split = leave_one_out(titled())
    titles = split.train.items.frame["title"].to_list()
    texts = ["" for _ in range(len(split.test))]
    for row in (3, 5):
        texts[row] = f"I want {titles[split.test.targets.history(row)[0]]}"
    test = replace(split.test, queries=replace(split.test.queries, texts=tuple(texts)))
    with pytest.raises(LeakError, match="wishes or profiles name the test target: 2 rows") as caught:
        guards.check_texts(replace(split, test=test))
    assert caught.value.rows[0] == named(split, split.test.who()[3], split.test.targets.history(3)[0])


def test_coincidences_are_no_leak():
    """Ages that are also item ids, titles of the history, and one text with all titles for everybody."""
    data = titled()
    frame = data.items.frame.with_columns(id=pl.Series([str(n) for n in range(data.n_items)]))
    rng = np.random.default_rng(0)
    ages = [str(age) for age in rng.integers(0, data.n_items, data.n_users)]
    titles = data.items.frame["title"].to_list()
    profiles = [", ".join(titles[item] for item in history[:-2]) for history in data.queries()]
    everything = [" | ".join(titles)] * data.n_users
    shoppers = with_users(data, age=ages, profile=profiles, newsletter=everything).users
    split = leave_one_out(Dataset(shoppers, Entities(frame), data.log))
    assert guards.check_texts(split)["shopper_texts_checked"] == [
        "shoppers' 'age'",
        "shoppers' 'newsletter'",
        "shoppers' 'profile'",
        "user ids",
    ]
