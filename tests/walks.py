"""A small shop with a pattern in it, for tests of whole comparisons."""

from __future__ import annotations

import numpy as np
import polars as pl

from tastemaker import compare as comparing
from tastemaker.compare import Plan, Source
from tastemaker.data import Dataset
from tastemaker.evaluate import Options


def walks(users=150, items=60, seed=0, shop=""):
    """Shoppers who mostly buy the next product of a fixed random round: easy for counts, impossible by chance."""
    rng = np.random.default_rng(seed)
    after = rng.permutation(items)
    rows = []
    for user in range(users):
        item = int(rng.integers(items))
        for step in range(int(rng.integers(4, 9))):
            rows.append((f"{shop}u{user:03}", f"{shop}p{item:02}", 1_600_000_000 + 86_400 * step))
            item = int(after[item]) if rng.random() < 0.8 else int(rng.integers(items))
    kinds = ["soap", "brush", "towel"]
    catalogue = pl.DataFrame(
        {
            "item_id": [f"{shop}p{item:02}" for item in range(items)],
            "title": [f"{kinds[item % 3]} of colour {item}" for item in range(items)],
            "categories": [["Home", kinds[item % 3]] for item in range(items)],
            "price": [2.0 + item for item in range(items)],
        }
    )
    shoppers = pl.DataFrame(
        {
            "user_id": [f"{shop}u{user:03}" for user in range(users)],
            "region": [["north", "south"][u % 2] for u in range(users)],
        }
    )
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").unique(
        ["user_id", "item_id"], keep="first", maintain_order=True
    )
    return Dataset.from_frames(log, catalogue, shoppers)


def plan_of(shop, *configs, **choices):
    options = {"options": Options(ks=(5, 10), probe=True), **choices}
    entries = comparing.entries(configs, floor=options.pop("floor", True), learn_from="learn_from" in choices)
    return Plan(entries=entries, data=Source(str(shop)), **options)
