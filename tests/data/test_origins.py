"""Digests of logs: the same shop is known again inside a join, and after it was cut, extended or exported anew."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

from tastemaker.data import origins
from tastemaker.data.dataset import Dataset
from tastemaker.data.join import join


def shop(seed: int, *, purchases: int = 6000) -> Dataset:
    """Ids are numbers, as in public data sets, so two shops share them all."""
    rng = np.random.default_rng(seed)
    log = pl.DataFrame({"user_id": rng.integers(500, size=purchases), "item_id": rng.integers(200, size=purchases)})
    items = pl.DataFrame({"item_id": [str(number) for number in range(200)]})
    return Dataset.from_frames(log.with_columns(pl.all().cast(pl.String)), items)


def true_share(one: Dataset, other: Dataset) -> float:
    """Of the smaller log's pairs, by sets."""
    pairs = []
    for data in (one, other):
        log = data.log
        pairs.append(set(zip(data.users.ids(log["user"]), data.items.ids(log["item"]), strict=True)))
    return len(pairs[0] & pairs[1]) / min(map(len, pairs))


def share(learnt: Dataset, asked: Dataset) -> float:
    (digest,) = origins.digests(learnt)
    return origins.common([digest], asked)[0]


def test_a_shop_is_known_again_and_another_is_not():
    data = shop(1)
    renumbered = Dataset.from_frames(
        pl.DataFrame(
            {"user_id": data.users.ids(data.log["user"]), "item_id": data.items.ids(data.log["item"])}
        ).reverse()
    )
    assert share(data, data) == share(data, renumbered) == 1
    assert share(data, shop(2)) == pytest.approx(true_share(data, shop(2)), abs=0.07)
    assert share(data, shop(2)) < 0.2 < origins.SAME


@pytest.mark.parametrize("kept", [0.9, 0.3, 0.05])
def test_a_part_of_a_log_is_known_whichever_of_the_two_was_learnt(kept):
    data = shop(1)
    part = data.with_log(data.log.sample(fraction=kept, seed=0).sort("user", maintain_order=True))
    assert share(data, part) == share(part, data) == 1


def test_logs_with_half_their_pairs_in_common_are_measured_right():
    data, other = shop(1), shop(2)
    n = data.log.height // 2
    mixed = data.with_log(pl.concat([data.log[:n], other.log[n:]]).sort("user", maintain_order=True))
    assert share(data, mixed) == pytest.approx(true_share(data, mixed), abs=0.1)


def test_joined_shops_are_known_under_their_own_ids():
    one, two = shop(1), shop(2)
    found = origins.digests(join({"one": one, "two": two}))
    assert [digest.shop for digest in found] == ["one", "two"]
    assert [digest.smallest for digest in found] == [origins.digests(data)[0].smallest for data in (one, two)]
    assert origins.common(found, two)[1] == 1 > origins.SAME > origins.common(found, two)[0]


def test_a_digest_is_small_and_survives_json():
    (digest,) = origins.digests(shop(1))
    assert len(digest.smallest) == origins.KEPT < digest.pairs
    assert list(digest.smallest) == sorted(set(digest.smallest))
    assert origins.LogDigest.from_dict(digest.to_dict()) == digest
    (few,) = origins.digests(shop(3, purchases=20))
    assert len(few.smallest) == few.pairs == shop(3, purchases=20).log.unique(["user", "item"]).height


def test_hashes_are_the_same_on_every_machine():
    log = pl.DataFrame({"user_id": ["ann", "bob"], "item_id": ["tea", "cup"]})
    (digest,) = origins.digests(Dataset.from_frames(log))
    assert list(digest.smallest) == sorted(slow_hash(*pair) for pair in (("ann", "tea"), ("bob", "cup")))
    assert digest.to_dict()["smallest"] == ["32e222e02c5c3369", "dec97afaaa09d99f"]


def slow_hash(user: str, item: str) -> int:
    """In whole numbers of any size, instead of numpy's."""
    user, item = (
        int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little") for one in (user, item)
    )
    mixed = (user * 0x9E3779B97F4A7C15 + item) % 2**64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
    return mixed ^ mixed >> 31


def test_an_empty_log_has_nothing_in_common():
    data = shop(1)
    empty = data.with_log(data.log[:0])
    assert share(data, empty) == share(empty, data) == share(empty, empty) == 0
