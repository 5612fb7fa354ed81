from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import Dataset
from tastemaker.data.filters import compact, k_core, without_repeats
from tastemaker.errors import DataError

logs = st.lists(st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdef")), min_size=1, max_size=40)


def shop(pairs):
    users, items = zip(*pairs, strict=True)
    catalogue = pl.DataFrame({"item_id": sorted({*items, "cold"}), "title": sorted({*items, "cold"})})
    return Dataset.from_frames(pl.DataFrame({"user_id": users, "item_id": items}), catalogue)


def pairs(data):
    """The log as sorted pairs of ids."""
    users, items = data.users.ids(data.log["user"].to_numpy()), data.items.ids(data.log["item"].to_numpy())
    return list(zip(users, items, strict=True))


def slow_core(rows, least_user, least_item):
    """Drop one offending user or item at a time until there is none."""
    while True:
        users, items = Counter(user for user, _ in rows), Counter(item for _, item in rows)
        few = [user for user in users if users[user] < least_user] + [i for i in items if items[i] < least_item]
        if not few:
            return rows
        rows = [row for row in rows if few[0] not in row]


@given(logs, st.integers(1, 4), st.none() | st.integers(1, 4))
def test_k_core_equals_the_slow_version(rows, k, items):
    expected = slow_core(rows, k, k if items is None else items)
    if not expected:
        with pytest.raises(DataError, match="use a smaller core"):
            k_core(shop(rows), k, items=items)
        return
    core = k_core(shop(rows), k, items=items)
    assert sorted(pairs(core)) == sorted(expected)
    assert core.users.frame["id"].to_list() == list(dict.fromkeys(user for user, _ in rows if user in dict(expected)))
    assert core.items.frame["title"].to_list() == sorted({item for _, item in expected})


@given(logs)
def test_without_repeats_keeps_first_interactions_in_order(rows):
    data = shop(rows)
    assert pairs(without_repeats(data)) == list(dict.fromkeys(pairs(data)))


@given(logs)
def test_compact_drops_what_nobody_used_and_changes_nothing_else(rows):
    data = shop(rows)
    small = compact(data)
    assert pairs(small) == pairs(data)
    assert small.items.frame["id"].to_list() == sorted({item for _, item in rows})
    assert compact(small).fingerprint == small.fingerprint
