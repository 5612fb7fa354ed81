"""Catalogues that tell the held-out part by numbers, ids or near-duplicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from guard_shops import (
    titled,
)

from tastemaker import guards
from tastemaker.data import Dataset, Entities, readers
from tastemaker.data.splits import SPLITS, leave_one_out
from tastemaker.data.splits.variants import renumbered
from tastemaker.errors import LeakError
from tastemaker.models.collaborative.popular import Popular
from tastemaker.pipeline import Pipeline, Stage
from tastemaker.testing import tiny_shop


def numbered_by_the_log(users=400, per_user=6):
    """Ids as in P5: each shopper's new products get the next numbers, test product included."""
    rng = np.random.default_rng(0)
    rows, known = [], 1
    for user in range(users):
        for _ in range(per_user):
            item = known if rng.random() < 0.4 else int(rng.integers(known))
            known = max(known, item + 1)
            rows.append((f"u{user}", item))
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(known)]})
    log = pl.DataFrame({"user_id": [row[0] for row in rows], "item_id": [f"i{row[1]}" for row in rows]})
    return Dataset.from_frames(log, items)


def test_numbers_that_follow_the_log():
    data = numbered_by_the_log()
    split = leave_one_out(data)
    facts = guards.check_ids(split)
    assert facts["item_numbers_follow_log"]["questions_answered_by_next"] > 0.02
    with pytest.raises(LeakError, match=r"item numbers follow the order of the log.*items 'i\d+' -> 'i\d+'"):
        guards.check_ids(split, reads_ids=True)
    shuffled = leave_one_out(renumbered(data))
    assert {what.split("_")[1] for what in guards.check_ids(shuffled)} == {"ids"}
    with pytest.raises(LeakError, match="item ids follow the order of the log"):
        guards.check_ids(shuffled, reads_ids=True)
    renamed = Entities.from_ids([f"x{id_[::-1]}y" for id_ in data.items.frame["id"]])
    assert guards.check_ids(leave_one_out(renumbered(Dataset(data.users, renamed, data.log))), reads_ids=True) == {}


def test_a_catalogue_sorted_by_kind_is_no_leak():
    """Neighbours in the catalogue are bought together, in either order."""
    rng = np.random.default_rng(0)
    start = rng.integers(0, 90, 400)
    steps = rng.integers(-1, 2, (400, 5)).cumsum(axis=1) + 5
    rows = [(f"u{user}", int(item)) for user in range(400) for item in start[user] + steps[user]]
    items = pl.DataFrame({"item_id": [f"p{item}" for item in range(101)]})
    log = pl.DataFrame({"user_id": [row[0] for row in rows], "item_id": [f"p{row[1]}" for row in rows]})
    assert guards.check_ids(leave_one_out(Dataset.from_frames(log, items)), reads_ids=True) == {}


@pytest.mark.parametrize("name", ["{}", "i{}", "i{}0", "sku-{:05}"])
@pytest.mark.parametrize("down", [False, True])
def test_ids_count_up_or_down_in_any_step_and_beside_other_ids(name, down):
    data = numbered_by_the_log()
    ids = [name.format(data.n_items - number if down else number) for number in range(data.n_items - 1)] + ["gift-card"]
    data = renumbered(Dataset(data.users, Entities.from_ids(ids), data.log))
    with pytest.raises(LeakError, match=f"the id {'before' if down else 'after'} the newest one is often the target"):
        guards.check_ids(leave_one_out(data), reads_ids=True)


def test_one_pair_bought_by_many_is_no_order():
    rng = np.random.default_rng(0)
    rows = [(f"u{user}", int(item)) for user in range(300) for item in [*rng.choice(40, 4, replace=False) + 10, 3, 4]]
    log = pl.DataFrame({"user_id": [row[0] for row in rows], "item_id": [f"{row[1]:02}" for row in rows]})
    facts = guards.check_ids(leave_one_out(Dataset.from_frames(log)))
    assert "item_numbers_follow_log" not in facts


def by_test_targets(data, *, first=True):
    """The same shop with the products that are asked for at the top (or bottom) of the catalogue."""
    targets = leave_one_out(data).test.targets.items
    order = np.argsort(-np.bincount(targets, minlength=data.n_items), kind="stable")
    frame = data.items.frame[order if first else order[::-1]]
    return Dataset(
        data.users,
        Entities(frame),
        data.log.with_columns(pl.Series("item", Entities(frame).numbers(data.items.ids(data.log["item"].to_numpy())))),
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_catalogue_in_the_order_of_test_targets(first):
    data = renumbered(tiny_shop(users=500, items=300), seed=1)
    assert not any(fact.startswith("item_numbers") for fact in guards.check_ids(leave_one_out(data)))
    facts = guards.check_ids(leave_one_out(by_test_targets(data, first=first)))["item_numbers_tell_targets"]
    assert facts["correlation"] < -0.3 if first else facts["correlation"] > 0.3
    assert facts["meaning"].endswith("equal scores go by number: compare with --ties shuffled")
    with pytest.raises(LeakError, match=f"{'low' if first else 'high'} item numbers are held out oftener"):
        guards.check_ids(leave_one_out(by_test_targets(data, first=first)), reads_ids=True)


def test_random_numbers_tell_nothing():
    for seed in range(10):
        data = renumbered(tiny_shop(users=200, seed=seed), seed=seed)
        for name in ("leave-one-out", "item-cold", "user-cold"):
            assert not {fact for fact in guards.check_ids(SPLITS[name](data)) if fact.startswith("item_numbers")}


class ReadsIds(Popular):
    """A plug-in that looks at ids."""

    reads_ids = True


def test_all_asks_the_pipeline_what_it_reads():
    split = leave_one_out(numbered_by_the_log())
    guards.check_all(Pipeline([Stage(Popular())]), split)
    with pytest.raises(LeakError, match="follow the order of the log"):
        guards.check_all(Pipeline([Stage(Popular())], fallback=ReadsIds()), split)


def test_near_duplicates_across_an_item_cold_split():
    data = titled(users=200)
    split = SPLITS["item-cold"](data)
    guards.check_duplicates(split)
    new, old = int(split.test.targets.items[0]), int(split.train.log["item"][0])
    titles = data.items.frame["title"].to_list()
    titles[new] = titles[old] + "!"
    items = Entities(data.items.frame.with_columns(title=pl.Series(titles)))
    leaky = replace(
        split, **{side: Dataset(data.users, items, getattr(split, side).log) for side in ("train", "refit")}
    )
    with pytest.raises(LeakError, match="held-out products have near-duplicates in train") as caught:
        guards.check_duplicates(leaky)
    assert caught.value.rows == (" ~ ".join(f"item {id_!r}" for id_ in data.items.ids([new, old])),)


def test_near_duplicates_of_the_history_are_counted():
    titles = {"a": "green tea, loose leaf 100 g", "b": "Green Tea loose leaf (100 g)", "c": "black coffee beans 1 kg"}
    items = pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
    log = pl.DataFrame({"user_id": list("uuuvvv"), "item_id": list("acbcab")})
    log = pl.concat([log, pl.DataFrame({"user_id": list("www"), "item_id": list("cac")})])
    split = leave_one_out(Dataset.from_frames(log, items))
    assert guards.check_duplicates(split) == {
        "near_duplicates": "2 of 3 products are near-duplicates of each other",
        "targets_near_duplicate_of_history": round(2 / 3, 6),
    }


def test_near_duplicates_are_not_checked_without_titles():
    data = tiny_shop()
    bare = Dataset(data.users, Entities(data.items.frame.drop("title")), data.log)
    for name in ("leave-one-out", "item-cold"):
        assert guards.check_duplicates(SPLITS[name](bare)) == {"near_duplicates": "not checked: no titles"}


REAL = ("beauty-2014", "toys-2014", "sports-2014", "office-2014", "games-2018")


@pytest.mark.parametrize("name", REAL)
def test_real_data_are_clean(real_data, name):
    data, _ = readers.read(real_data / f"amazon-{name}")
    facts = {}
    for split in ("leave-one-out", "user-cold", "item-cold", *(["as-given"] if "split" in data.log.columns else [])):
        facts[split] = guards.check_all(Pipeline([Stage(Popular())]), SPLITS[split](data))
    # All public files are numbered so.
    assert facts["leave-one-out"]["item_numbers_follow_log"]["questions_answered_by_next"] > 0.01
    assert facts["item-cold"].get("targets_near_duplicate_of_history", 0) == 0
