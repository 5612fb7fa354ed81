"""Shops and rows that the tests of the guards plant leaks in."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker.data import Dataset, Entities
from tastemaker.data.splits import as_given
from tastemaker.data.splits.variants import without_repeats
from tastemaker.testing import tiny_shop


def timeless(data):
    """The same shop without times."""
    return data.with_log(data.log.with_columns(pl.lit(None, dtype=pl.Int64).alias("timestamp")))


def distinct_shop(users=500, seed=0):
    """A shop where nobody buys a product twice, with more than a thousand chances to do so, and without times."""
    return timeless(without_repeats(tiny_shop(users=users, seed=seed))[0])


def timeless_shop():
    return timeless(tiny_shop(users=200))


def titled(users=80):
    """A shop with long, distinct titles."""
    data = without_repeats(tiny_shop(users=users))[0]
    titles = [f"Hand-made {word} No. {n}, large" for n, word in enumerate(["soap", "brush"] * (data.n_items // 2))]
    frame = data.items.frame.with_columns(title=pl.Series(titles))
    return Dataset(data.users, Entities(frame), data.log)


def grocery(users=400, products=60, seed=0, *, rows_twice=0.0):
    """A shop where much is bought again: each shopper has a few favourites. Some rows are there twice."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        favourites = rng.choice(products, 4)
        for place in range(int(rng.integers(4, 12))):
            item = rng.choice(favourites) if rng.random() < 0.5 else rng.integers(products)
            rows += [(f"u{user}", f"p{item}", 1_600_000_000 + place * 86_400)] * (1 + int(rng.random() < rows_twice))
    return Dataset.from_frames(pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"))


def given(data, *, copied=1.0, seconds=None, blank=False):
    """A leave-one-out split by column, in which a share of the test rows is in train as well, at another time."""
    place = pl.int_range(pl.len()).over("user") - pl.len().over("user")
    word = pl.when(place == -1).then(pl.lit("test")).when(place == -2).then(pl.lit("valid")).otherwise(pl.lit("train"))
    log = data.log.with_columns(word.alias("split"))
    copies = log.filter(pl.col("split") == "test").sample(fraction=copied, seed=0)
    copies = copies.with_columns(pl.lit("train").alias("split"), pl.col("timestamp") + (seconds or 0))
    if blank:
        copies = copies.with_columns(pl.lit(None, dtype=pl.Int64).alias("timestamp"))
    log = pl.concat([log, copies]).sort("user", "timestamp", maintain_order=True, nulls_last=True)
    return as_given(data.with_log(log))


def with_users(data, **columns):
    frame = data.users.frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    return Dataset(Entities(frame), data.items, data.log)


def last_items(data):
    return [history[-1] if len(history) else None for history in data.queries()]


def adding(log, rows):
    """A data set with further rows of its own kind."""
    return log.with_log(pl.concat([log.log, rows]).sort("user", maintain_order=True))


def held_out_row(split, place=0):
    """The held-out interaction of a test question, as a row of the log."""
    user, item = split.test.who()[place], split.test.targets.history(place)[0]
    time = None if split.test.times is None else split.test.times[place]
    row = {"user": [user], "item": [item], "timestamp": [time], "value": [1.0]}
    return pl.DataFrame(row, schema=split.train.log.schema), (user, item)


def named(split, user, item):
    """How a message calls an interaction."""
    return f"user {split.train.users.ids([user])[0]!r}, item {split.train.items.ids([item])[0]!r}"
