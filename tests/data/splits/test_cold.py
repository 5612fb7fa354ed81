"""Cold splits: what is held out is unknown, and what is asked is as it happened."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Dataset, Entities
from tastemaker.data.splits import cold, item_cold, user_cold
from tastemaker.errors import DataError
from tastemaker.testing import tiny_shop


def shop(histories, titles=None):
    """{user: items in order}; item ids are letters."""
    rows = [(user, item) for user, items in histories.items() for item in items]
    log = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    items = None if titles is None else pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
    return Dataset.from_frames(log, items)


def ids(data, queries):
    return ["".join(data.items.ids(items)) for items in queries]


logs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=20, max_size=80)


@given(logs, st.integers(0, 5))
def test_held_out_shoppers_are_strangers(rows, seed):
    data = shop({f"u{user}": [f"i{item}" for other, item in rows if other == user] for user in range(13)})
    try:
        split = user_cold(data, share=0.2, seed=seed)
    except DataError:
        return
    everything = data.queries()
    asked = {name: set(part.shoppers.tolist()) for name, part in (("v", split.validation), ("t", split.test))}
    assert not asked["v"] & asked["t"]
    assert not set(split.train.log["user"]) & (asked["v"] | asked["t"])
    assert not set(split.refit.log["user"]) & asked["t"]
    assert set(split.refit.log["user"]) == set(split.train.log["user"]) | asked["v"]
    for part in (split.validation, split.test):
        assert (part.queries.users == -1).all()
        for user, history, target in zip(part.shoppers, part.queries, part.targets, strict=True):
            assert [*history, *target] == everything.history(user).tolist()
            assert len(target) == 1
    kept = len(split.train) + sum(len(everything.history(user)) for user in asked["v"] | asked["t"])
    assert kept == len(data)


def test_user_cold_says_its_shares_seed_and_counts():
    data = tiny_shop(users=200)
    split = user_cold(data, share=0.1, seed=3)
    long_enough = int((data.queries().lengths >= 2).sum())
    assert split.protocol["validation_users"] == split.protocol["test_users"] == round(long_enough / 10)
    assert split.protocol["users_too_short"] == data.n_users - long_enough
    assert (split.protocol["share"], split.protocol["split_seed"]) == (0.1, 3)
    other = user_cold(data, share=0.1, seed=4)
    assert set(split.test.shoppers) != set(other.test.shoppers)


def drawn(monkeypatch, data, sides, **settings):
    """Split with chosen sides: {item: 1 for validation, 2 for test}."""
    side = np.array([sides.get(id_, 0) for id_ in data.items.frame["id"]])
    monkeypatch.setattr(cold, "_draw", lambda *_, **__: side)
    return item_cold(data, **settings)


HISTORIES = {"u": "aVbTcTV", "v": "Vab", "w": "abTb", "x": "Tab", "y": "aV"}


def test_item_cold_by_hand(monkeypatch):
    data = shop(HISTORIES)
    split = drawn(monkeypatch, data, {"V": 1, "T": 2})
    assert ids(data, split.train.queries()) == ["abc", "ab", "abb", "ab", "a"]
    assert ids(data, split.refit.queries()) == ["aVbcV", "Vab", "abb", "ab", "aV"]
    assert data.users.ids(split.validation.shoppers) == ["u", "y"]
    assert (ids(data, split.validation.queries), ids(data, split.validation.targets)) == (["a", "a"], ["VV", "V"])
    assert data.users.ids(split.test.shoppers) == ["u", "w"]
    assert (ids(data, split.test.queries), ids(data, split.test.targets)) == (["aVb", "ab"], ["TT", "T"])
    facts = {name: split.protocol[name] for name in split.protocol if "shorter" in name or name.endswith("_items")}
    assert facts == {
        "validation_items": 1,
        "test_items": 1,
        "validation_users_with_shorter_history": 1,
        "test_users_with_shorter_history": 1,
    }


def test_item_cold_asks_shoppers_without_history_on_demand(monkeypatch):
    data = shop(HISTORIES)
    test = drawn(monkeypatch, data, {"V": 1, "T": 2}, least_history=0).test
    assert (data.users.ids(test.shoppers), ids(data, test.queries)) == (["u", "w", "x"], ["aVb", "ab", ""])


@given(logs, st.integers(0, 5))
def test_held_out_products_are_unknown_and_near_duplicates_stay_together(rows, seed):
    titles = {f"i{item}": f"rain jacket blue size {item // 2}" for item in range(10)}
    histories = {f"u{user}": [f"i{item}" for other, item in rows if other == user] for user in range(13)}
    data = shop(histories, titles)
    try:
        split = item_cold(data, share=0.25, seed=seed)
    except DataError:
        return
    new = {name: set(part.targets.items.tolist()) for name, part in (("v", split.validation), ("t", split.test))}
    assert not new["v"] & new["t"]
    assert not set(split.train.log["item"]) & (new["v"] | new["t"])
    assert not set(split.refit.log["item"]) & new["t"]
    pairs = {name: {item // 2 for item in items} for name, items in new.items()}
    assert not pairs["v"] & pairs["t"]
    assert not {item // 2 for item in split.train.log["item"]} & (pairs["v"] | pairs["t"])
    assert (split.test.queries.lengths >= 1).all()
    assert split.train.items == data.items


def test_item_cold_draws_a_share_of_the_bought_products():
    data = tiny_shop(users=300)
    split = item_cold(data, share=0.2, seed=1)
    bought = int((data.popularity > 0).sum())
    assert split.protocol["test_items"] == split.protocol["validation_items"] == round(bought / 5)
    assert split.protocol["items_bought"] == bought
    other = item_cold(data, share=0.2, seed=2)
    assert set(other.test.targets.items) != set(split.test.targets.items)


@pytest.mark.parametrize(
    ("method", "data", "settings", "message"),
    [
        (user_cold, shop({"u": "abc", "v": "ab", "w": "a"}), {}, "2 of 3 users have 2 interactions; it needs 3"),
        (user_cold, shop({"u": "abc"}), {}, "1 of 1 users have 2 interactions"),
        (user_cold, tiny_shop(), {"share": 0.5}, "share 0.5 must lie between 0 and 0.5"),
        (item_cold, tiny_shop(), {"share": 0}, "share 0 must lie between 0 and 0.5"),
        (item_cold, shop({"u": "a", "v": "b"}), {}, "item-cold split: the validation part has no question"),
        (user_cold, tiny_shop().with_log(tiny_shop().log.head(0)), {}, "the data have no interactions"),
        (item_cold, tiny_shop().with_log(tiny_shop().log.head(0)), {}, "the data have no interactions"),
    ],
)
def test_impossible_cold_splits_say_why(method, data, settings, message):
    with pytest.raises(DataError, match=message):
        method(data, **settings)


def test_cold_splits_say_what_the_history_is_and_how_near_duplicates_are_kept_apart():
    data = tiny_shop(users=200)
    assert user_cold(data).protocol["history_at_test"].startswith("all but the last interaction")
    protocol = item_cold(data).protocol
    assert protocol["history_at_test"].startswith("what came before the first held-out product")
    assert protocol["near_duplicates"] == "on the same side: 0 of 40 products are near-duplicates of each other"
    bare = Dataset(data.users, Entities(data.items.frame.drop("title")), data.log)
    assert item_cold(bare).protocol["near_duplicates"] == "not checked: no titles"


def test_a_catalogue_of_near_duplicates_says_why_nothing_can_be_held_out():
    histories = {f"u{user}": [f"i{(user + n) % 9}" for n in range(4)] for user in range(9)}
    data = shop(histories, {f"i{n}": f"hand made soap {n} ml" for n in range(9)})
    with pytest.raises(DataError, match="9 of 9 products are near-duplicates of each other"):
        item_cold(data)
